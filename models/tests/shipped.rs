//! The shipped sources hold in every interleaving.
#![allow(dead_code, unused_unsafe, clippy::mut_from_ref)]

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

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
    who_waits_for_an_m_gets_it
    the_taker_of_the_last_makes_a_spare
    a_last_m_is_taken_again_or_by_another
    a_last_m_is_let_go_for_another
    a_store_wakes_who_waits
    nothing_runs_in_a_stopped_world
    stoppers_take_turns
}
