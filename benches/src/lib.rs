//! What the benchmarks measure: the loops of `loops.c`, and the C interface of needm as
//! Rust calls it.
//!
//! # Safety
//! The declarations repeat `include/needm.h` and `loops.c`. `needm_start` reads a
//! configuration that lives through the call; `needm_stop` may be called at any time.

use std::ffi::{c_int, c_void};

/// What a callback runs.
pub type Function = extern "C" fn(*mut c_void);
/// `needm_callback`.
pub type Callback = unsafe extern "C" fn(Function, *mut c_void, usize, *mut c_void) -> c_int;

/// `include/needm.h`.
pub mod c {
    use super::{Function, c_int, c_void};

    /// `needm_config`.
    #[repr(C)]
    pub struct Config {
        /// Bytes of this struct.
        pub size: usize,
        /// Ms ready at the start.
        pub seed_ms: u32,
        /// Most Ms ever made.
        pub max_ms: u32,
        /// Bytes of a G's stack.
        pub stack_size: usize,
        /// Bytes of a signal stack.
        pub signal_stack_size: usize,
        /// 0: bound to the thread; 1: unbound after each call.
        pub binding: u32,
        /// Flags; none here.
        pub flags: u32,
        /// The longest wait for an M; 0 is without limit.
        pub wait_ns: i64,
        /// Hooks; none here.
        pub hooks: *const c_void,
        /// Bytes of the guard below a G.
        pub guard_size: usize,
        /// Reserved.
        pub interrupt_signal: i32,
    }

    unsafe extern "C" {
        /// Starts needm.
        pub fn needm_start(config: *const Config) -> c_int;
        /// Stops needm.
        pub fn needm_stop() -> c_int;
        /// Runs a callback.
        pub fn needm_callback(
            function: Function,
            frame: *mut c_void,
            size: usize,
            info: *mut c_void,
        ) -> c_int;
        /// Calls C from a callback.
        pub fn needm_ccall(function: Function, arg: *mut c_void) -> c_int;
        /// Binds an M to this thread.
        pub fn needm_attach() -> c_int;
        /// Unbinds it.
        pub fn needm_detach() -> c_int;
        /// Defers a function.
        pub fn needm_defer_push(defer: *mut c_void, function: Function, arg: *mut c_void) -> c_int;
        /// Stops a panic.
        pub fn needm_recover(info: *mut c_void) -> c_int;
    }
}

type Pair = unsafe extern "C" fn() -> c_int;

/// `loops.c`: the nanoseconds that `n` repetitions take.
pub mod loops {
    use super::{Callback, Function, Pair, c_int, c_void};

    #[allow(missing_docs)] // `loops.c` documents them
    unsafe extern "C" {
        pub fn loop_calls(n: u64) -> u64;
        pub fn loop_calls_that_store_fp_control(n: u64) -> u64;
        pub fn loop_callbacks(call: Callback, n: u64) -> u64;
        pub fn loop_framed_callbacks(call: Callback, n: u64) -> u64;
        pub fn loop_nested_callbacks(
            call: Callback,
            ccall: unsafe extern "C" fn(Function, *mut c_void) -> c_int,
            n: u64,
        ) -> u64;
        pub fn loop_pairs(first: Pair, second: Pair, n: u64) -> u64;
        pub fn loop_sigaltstacks(n: u64) -> u64;
        pub fn loop_faults_left_by_jump(n: u64) -> u64;
        pub fn loop_faults_returned_from(n: u64) -> u64;
        pub fn loop_recovered_faults(
            call: Callback,
            push: unsafe extern "C" fn(*mut c_void, Function, *mut c_void) -> c_int,
            recover: unsafe extern "C" fn(*mut c_void) -> c_int,
            n: u64,
        ) -> u64;
        pub fn loop_threads(work: Function, arg: *mut c_void, n: u64) -> u64;
        pub fn on_a_plain_thread(work: Function, arg: *mut c_void);
        pub fn loop_crowd(
            work: Function,
            arg: *mut c_void,
            n: u64,
            meanwhile: Function,
            with: *mut c_void,
        ) -> u64;
    }
}

/// needm, started: stopped when this is dropped.
pub struct Started;

impl Started {
    /// Starts needm, with `binding` as in the C interface; 0 stands for each default.
    ///
    /// # Panics
    /// If needm does not start.
    #[must_use]
    pub fn new(binding: u32, stack_size: usize, seed_ms: u32) -> Self {
        Self::with_flags(binding, stack_size, seed_ms, 0)
    }

    /// The same with flags of `needm.h`.
    ///
    /// # Panics
    /// If needm does not start.
    #[must_use]
    pub fn with_flags(binding: u32, stack_size: usize, seed_ms: u32, flags: u32) -> Self {
        let config = c::Config {
            size: size_of::<c::Config>(),
            seed_ms,
            max_ms: 12_000,
            stack_size,
            signal_stack_size: 0,
            binding,
            flags,
            wait_ns: 0,
            hooks: std::ptr::null(),
            guard_size: 0,
            interrupt_signal: 0,
        };
        // SAFETY: `config` has the size that it says, and lives through the call.
        assert_eq!(unsafe { c::needm_start(&raw const config) }, 0);
        Self
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: `new` started needm, and needm_stop may be called from any thread.
        assert_eq!(unsafe { c::needm_stop() }, 0);
    }
}
