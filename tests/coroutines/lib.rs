//! A coroutine of corosensei that goes on inside callbacks of needm, where corosensei builds.

#[allow(dead_code)] // one macro of it is used
#[path = "../arch/table.rs"]
mod arch;

arch::where_corosensei_builds! {
    {
        mod task;
        pub use task::Task;
    } else {
    }
}
