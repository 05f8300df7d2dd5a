//! What holds in every execution of needm's modules.

use needm_under_loom::checks;

macro_rules! hold {
    ($($check:ident)*) => {$(
        #[test]
        fn $check() {
            checks::$check();
        }
    )*};
}

hold! {
    a_row_is_popped_by_one_at_a_time
    waiters_get_an_m
    the_thread_that_takes_the_last_m_makes_a_spare
    a_last_m_is_rebound_or_bound_by_another
    a_last_m_is_released_for_another
    a_store_wakes_a_waiter
    nothing_runs_in_a_stopped_world
    stoppers_take_turns
    a_dead_threads_m_is_reclaimed_once
    a_living_threads_m_is_never_reclaimed
    a_record_serves_the_next_thread
    exit_and_reaping_agree
    a_waiter_finds_what_a_dead_thread_left
    the_world_goes_on_without_the_dead
    needm_stops_while_threads_exit
}
