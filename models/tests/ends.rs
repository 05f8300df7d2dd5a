//! The shipped sources hold when threads end, in every interleaving.
#![allow(dead_code, unused_unsafe, unused_imports, clippy::mut_from_ref)]

include!(concat!(env!("OUT_DIR"), "/ends.rs"));

macro_rules! hold {
    ($($check:ident)*) => {$(
        #[test]
        fn $check() {
            ends::$check();
        }
    )*};
}

hold! {
    an_ended_threads_m_is_taken_back_once
    a_living_threads_m_is_never_taken_back
    a_record_serves_the_next_thread
    who_ends_and_who_reclaims_agree
    a_taker_finds_what_an_ended_thread_left
    the_world_goes_on_without_the_dead
    a_kernel_stops_while_threads_end
}
