//! The planted bugs (`mutate/bugs.rs`) are found, each by its check. This is a copy of the
//! whole crate that has them all; a test makes one of them take effect.
#![allow(dead_code, unused, missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/planted/src/lib.rs"));

mod is_found {
    use crate::checks;
    use std::panic::catch_unwind;

    include!(concat!(env!("OUT_DIR"), "/found.rs"));

    fn must_find(bug: u32, check: fn()) {
        checks::plant(bug);
        let failure = catch_unwind(check).expect_err("the check does not find it");
        let failure = failure.downcast_ref::<String>().expect("a check fails with a message");
        // What an exploration cannot end with is not a finding.
        assert!(!failure.contains("maximum number of branches"), "{failure}");
        println!("found: {failure}");
    }
}
