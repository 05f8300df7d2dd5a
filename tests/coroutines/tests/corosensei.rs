//! Coroutines in Rust inside callbacks. Where they cannot be built, the total of the tests says so.

#[allow(dead_code)] // one macro of it is used
#[path = "../../arch/table.rs"]
mod arch;

arch::where_corosensei_builds! {
    {
        #[allow(dead_code)] // not all kinds of endings are met
        #[path = "../../rust_sound/child.rs"]
        mod child;
        #[path = "../forgotten.rs"]
        mod forgotten;
        #[path = "../hooks.rs"]
        mod hooks;
        #[path = "../inside_callbacks.rs"]
        mod inside_callbacks;
        #[path = "../sound.rs"]
        mod sound;
    } else {
        #[test]
        #[ignore = "corosensei does not build on ARM without an installed standard library"]
        fn coroutines_run_inside_callbacks() {}
    }
}
