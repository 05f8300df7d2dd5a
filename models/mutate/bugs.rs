//! The planted bugs: what becomes of the statement that `// model: NAME` marks in the sources,
//! and the check that must find it.

use crate::mutate::Change::{
    self, Again, Always, AtOnce, CountStands, Delete, Here, JustCall, Never, NextValue, Swapped,
    That, Torn, WaitForNow, Weaker,
};

/// A bug.
pub struct Bug {
    pub name: &'static str,
    pub change: Change,
    pub check: &'static str,
}

macro_rules! bugs {
    ($($check:ident { $($name:ident: $change:ident;)* })*) => {
        pub const BUGS: &[Bug] = &[$($(
            Bug { name: stringify!($name), change: $change, check: stringify!($check) },
        )*)*];
    };
}

bugs! {
    a_row_is_popped_by_one_at_a_time {
        a_list_without_a_generation: CountStands;
        a_list_that_publishes_nothing: Weaker;
    }
    waiters_get_an_m {
        a_release_that_wakes_no_waiter: Delete;
        a_waiter_that_reads_too_late: WaitForNow;
    }
    a_last_m_is_rebound_or_bound_by_another {
        a_release_that_publishes_nothing: Weaker;
        a_popped_m_that_is_not_listed_again: Delete;
    }
    a_last_m_is_released_for_another {
        a_popper_that_does_not_look_again: Delete;
        a_last_m_that_is_never_released: Delete;
    }
    the_thread_that_takes_the_last_m_makes_a_spare {
        a_taker_that_makes_no_spare: Delete;
    }
    nothing_runs_in_a_stopped_world {
        a_gate_without_a_fence: Delete;
        a_gate_without_a_second_look: Always;
        a_stopper_that_does_not_wait: Delete;
        a_leaver_that_wakes_no_stopper: Delete;
        a_start_that_wakes_no_thread_at_the_gate: Delete;
    }
    stoppers_take_turns {
        a_start_that_wakes_no_stopper: Delete;
        a_stopper_that_waits_and_counts_as_running: JustCall;
    }
    a_record_serves_the_next_thread {
        a_record_without_a_generation: CountStands;
        a_record_that_is_taken_unordered: Weaker;
        a_reaper_that_looks_too_late: Again;
        a_record_released_before_its_m: Here;
        a_watch_that_begins_too_early: Here;
    }
    a_dead_threads_m_is_reclaimed_once {
        a_reaper_without_a_claim: Torn;
        a_reaper_that_forgets_the_m: Delete;
        a_record_that_is_never_used_again: Delete;
    }
    a_waiter_finds_what_a_dead_thread_left {
        a_last_m_that_stays_with_the_dead: Delete;
        an_exit_in_transfer_that_is_not_swept: Delete;
        a_waiter_that_does_not_reap: Delete;
    }
    the_world_goes_on_without_the_dead {
        a_dead_owner_of_the_world: Delete;
        a_stopper_that_waits_for_a_dead_owner: Delete;
        a_stopper_that_waits_for_the_dead: Delete;
    }
    exit_and_reaping_agree {
        an_exit_that_stays_on_the_robust_list: Delete;
        a_record_released_before_its_threads_end: That;
        an_exit_that_returns_no_m: Never;
    }
    needm_stops_while_threads_exit {
        a_stop_that_does_not_wait_for_changes: AtOnce;
        a_change_that_is_announced_too_late: Swapped;
        a_change_that_is_announced_unordered: Weaker;
        a_stop_that_unmaps_records_of_the_living: Never;
        a_stop_that_unmaps_records_of_the_exiting: NextValue;
    }
}
