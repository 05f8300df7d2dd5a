//! Bugs planted in the shipped sources (`bugs.rs`) are found. Each is a test that must fail.
#![allow(dead_code, unused_mut, unused_unsafe, unused_imports, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/planted.rs"));

macro_rules! found {
    ($module:ident, $checks:ident: $($bug:ident by $check:ident;)*) => {
        mod $module {
            $(
                #[test]
                #[should_panic]
                fn $bug() {
                    crate::$bug::$checks::$check();
                }
            )*
        }
    };
}

found! {
    is_found, checks:
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

found! {
    is_found_at_ends, ends:
    a_record_without_a_generation by a_record_serves_the_next_thread;
    a_record_that_is_taken_unordered by a_record_serves_the_next_thread;
    a_reclaimer_without_a_claim by an_ended_threads_m_is_taken_back_once;
    a_reclaimer_that_looks_too_late by a_record_serves_the_next_thread;
    a_reclaimer_that_forgets_the_m by an_ended_threads_m_is_taken_back_once;
    a_record_released_before_its_m by a_record_serves_the_next_thread;
    a_record_that_nobody_gets_again by an_ended_threads_m_is_taken_back_once;
    a_last_m_that_stays_with_the_dead by a_taker_finds_what_an_ended_thread_left;
    a_death_on_the_way_that_nobody_sweeps by a_taker_finds_what_an_ended_thread_left;
    a_dead_owner_of_the_world by the_world_goes_on_without_the_dead;
    a_watch_that_begins_too_early by a_record_serves_the_next_thread;
    an_end_that_stays_on_the_list by who_ends_and_who_reclaims_agree;
    a_record_released_before_its_threads_end by who_ends_and_who_reclaims_agree;
    a_claim_that_is_not_given_up by who_ends_and_who_reclaims_agree;
    an_end_that_gives_nothing_back by who_ends_and_who_reclaims_agree;
    a_stop_that_does_not_wait_for_takers by a_kernel_stops_while_threads_end;
    a_taker_that_says_so_too_late by a_kernel_stops_while_threads_end;
    a_taker_that_says_so_unordered by a_kernel_stops_while_threads_end;
    a_stop_that_takes_records_from_the_ending by a_kernel_stops_while_threads_end;
    a_stop_that_takes_records_from_the_living by a_kernel_stops_while_threads_end;
    a_waiter_that_does_not_look_for_the_dead by a_taker_finds_what_an_ended_thread_left;
    a_stopper_that_waits_for_a_dead_one by the_world_goes_on_without_the_dead;
    a_stopper_that_waits_for_the_dead by the_world_goes_on_without_the_dead;
}
