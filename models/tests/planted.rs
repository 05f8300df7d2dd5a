//! Bugs planted in the shipped sources (`bugs.rs`) are found. Each is a test that must fail.
#![allow(dead_code, unused_unsafe, unused_imports, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/planted.rs"));

macro_rules! found {
    ($($bug:ident by $check:ident;)*) => {
        mod is_found {
            $(
                #[test]
                #[should_panic]
                fn $bug() {
                    crate::$bug::checks::$check();
                }
            )*
        }
    };
}

found! {
    a_list_without_a_generation by a_row_is_popped_by_one_at_a_time;
    a_list_that_publishes_nothing by a_row_is_popped_by_one_at_a_time;
    a_giver_that_wakes_nobody by who_waits_for_an_m_gets_it;
    a_waiter_that_looks_too_late by who_waits_for_an_m_gets_it;
    a_giver_that_publishes_nothing by a_last_m_is_taken_again_or_by_another;
    a_giver_that_does_not_list by a_last_m_is_taken_again_or_by_another;
    a_popper_that_does_not_look_again by a_last_m_is_let_go_for_another;
    a_last_m_that_nobody_lets_go by a_last_m_is_let_go_for_another;
    a_taker_that_makes_no_spare by the_taker_of_the_last_makes_a_spare;
    a_gate_without_a_fence by nothing_runs_in_a_stopped_world;
    a_gate_without_a_second_look by nothing_runs_in_a_stopped_world;
    a_stopper_that_does_not_wait by nothing_runs_in_a_stopped_world;
    a_leaver_that_wakes_no_stopper by nothing_runs_in_a_stopped_world;
    a_starter_that_wakes_no_stopper by stoppers_take_turns;
    a_starter_that_wakes_nobody_at_the_gate by nothing_runs_in_a_stopped_world;
    a_stopper_that_waits_and_counts_as_running by stoppers_take_turns;
}
