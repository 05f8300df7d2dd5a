//! What holds, whatever threads do and in whatever order: checks of the real modules, on the
//! model system (`models/os`) and the model CPU (`models/cpu`). README.md says what each shows.
#![allow(unsafe_code, missing_docs)] // callbacks, as assembly calls them

mod case;
mod exit;
mod explore;
mod gate;
mod pool;
mod work;

pub use exit::{
    a_dead_threads_m_is_reclaimed_once, a_living_threads_m_is_never_reclaimed,
    a_record_serves_the_next_thread, a_waiter_finds_what_a_dead_thread_left,
    exit_and_reaping_agree, needm_stops_while_threads_exit, the_world_goes_on_without_the_dead,
};
pub use gate::{nothing_runs_in_a_stopped_world, stoppers_take_turns};
pub use pool::{
    a_last_m_is_rebound_or_bound_by_another, a_last_m_is_released_for_another,
    a_row_is_popped_by_one_at_a_time, a_store_wakes_a_waiter,
    the_thread_that_takes_the_last_m_makes_a_spare, waiters_get_an_m,
};

/// Plants bug number `bug` in this process: only in the copy of the sources that has it.
pub fn plant(bug: u32) {
    crate::sync::plant(bug);
}
