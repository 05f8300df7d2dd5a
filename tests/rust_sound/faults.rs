//! Faults and overflows: whose they are, and that safe code never goes on after one.

use crate::OVERFLOWED;
use crate::child::bodies;
use libc::SIGSEGV;

bodies! {
    an_overflow_in_a_sort_ends_the_process => by(SIGSEGV).saying(OVERFLOWED);
    an_overflow_in_a_thread_scope_ends_the_process => by(SIGSEGV).saying(OVERFLOWED);
    a_fault_ends_the_process_as_without_needm => by(SIGSEGV);
    deferred_functions_do_not_run_after_a_fault_that_is_forwarded => by(SIGSEGV);
    a_fault_ends_the_process_in_per_call_binding => by(SIGSEGV);
    a_fault_in_a_spawned_thread_ends_the_process => by(SIGSEGV);
    the_handler_of_before_gets_the_fault => well();
    the_handler_of_before_gets_the_overflow => well();
    a_handler_without_a_stack_cannot_get_the_overflow => by(SIGSEGV).saying(OVERFLOWED);
    an_inner_callback_that_catches_ends_alone => well();
    an_inner_safe_callback_in_a_ccall_is_not_recovered_by_the_outer => by(SIGSEGV);
    an_inner_safe_callback_on_the_g_is_not_recovered_by_the_outer => by(SIGSEGV);
    the_outer_one_catches_again_after_an_inner_safe_one => well();
    a_fault_in_a_ccall_is_never_the_callbacks => by(SIGSEGV);
}

#[cfg(feature = "capi")]
bodies! {
    a_size_with_the_tag_is_refused_from_c => well();
}

mod body {
    use std::cell::Cell;
    use std::hint::black_box;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

    use crate::{deep, start, went_on, write_through_null};
    use needm::{Binding, CallbackError, Config, Deferred};

    pub(super) fn an_overflow_in_a_sort_ends_the_process() {
        start();
        let mut names: Vec<String> = (0..12).map(|i| format!("name {:02}", i * 7 % 12)).collect();
        let mut compared = 0;
        let ended = needm::callback(|_| {
            names.sort_by(|a, b| {
                compared += 1;
                // By then one of the strings is in the sort's own hands.
                if compared == 14 { deep(0).cmp(&0) } else { a.cmp(b) }
            });
        });
        went_on();
        println!("{ended:?}");
        drop(names);
    }

    pub(super) fn an_overflow_in_a_thread_scope_ends_the_process() {
        static GO: AtomicBool = AtomicBool::new(false);
        start();
        let ended = needm::callback(|_| {
            let local = AtomicU64::new(7);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !GO.load(SeqCst) {
                        std::thread::yield_now();
                    }
                    local.store(8, SeqCst);
                });
                black_box(deep(0));
            });
        });
        went_on();
        GO.store(true, SeqCst);
        println!("{ended:?}");
    }

    pub(super) fn a_fault_ends_the_process_as_without_needm() {
        start();
        let _ = needm::callback(|_| write_through_null());
        went_on();
    }

    pub(super) fn deferred_functions_do_not_run_after_a_fault_that_is_forwarded() {
        start();
        let end = |_: &Deferred| went_on();
        let _ = needm::callback(|cx| {
            cx.defer(&end).expect("there is room");
            write_through_null();
        });
        went_on();
    }

    pub(super) fn a_fault_ends_the_process_in_per_call_binding() {
        let config = Config { binding: Binding::Call, ..Config::default() };
        needm::start(config).expect("it is not started");
        for _ in 0..3 {
            needm::callback(|_| ()).expect("it returns");
        }
        let _ = needm::callback(|_| write_through_null());
        went_on();
    }

    pub(super) fn a_fault_in_a_spawned_thread_ends_the_process() {
        start();
        needm::spawn(write_through_null).expect("a thread");
        std::thread::sleep(std::time::Duration::from_secs(10));
        went_on();
    }

    /// Has SIGSEGV end the process with the status of success.
    fn install(flags: libc::c_int) {
        extern "C" fn handler(_: libc::c_int) {
            // SAFETY: it ends the process.
            unsafe { libc::_exit(200) }
        }
        // SAFETY: the handler may run at any instruction.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()), 0);
        }
    }

    pub(super) fn the_handler_of_before_gets_the_fault() {
        install(0);
        start();
        let _ = needm::callback(|_| write_through_null());
        std::process::exit(1);
    }

    pub(super) fn the_handler_of_before_gets_the_overflow() {
        install(libc::SA_ONSTACK);
        start();
        let _ = needm::callback(|_| black_box(deep(0)));
        std::process::exit(1);
    }

    pub(super) fn a_handler_without_a_stack_cannot_get_the_overflow() {
        // Its frame would fault again, and with this flag again and again.
        install(libc::SA_NODEFER);
        start();
        let _ = needm::callback(|_| black_box(deep(0)));
        went_on();
    }

    /// A callback whose fault is an error.
    fn catches() {
        // SAFETY: the callback's frames hold nothing.
        let ended = unsafe { needm::callback_catching_faults(|_| write_through_null()) };
        assert!(matches!(ended, Err(CallbackError::Fault(fault)) if fault.addr == 0));
    }

    pub(super) fn an_inner_callback_that_catches_ends_alone() {
        start();
        let dropped = Cell::new(0);
        struct Dropped<'a>(&'a Cell<u32>);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        for _ in 0..100 {
            needm::callback(|cx| {
                let _in_the_outer_one = Dropped(&dropped);
                catches(); // on the G
                cx.ccall(catches).expect("it is on the G");
            })
            .expect("it returns");
        }
        assert_eq!(dropped.get(), 100);
    }

    pub(super) fn an_inner_safe_callback_in_a_ccall_is_not_recovered_by_the_outer() {
        start();
        let inner = || {
            let _ = needm::callback(|_| write_through_null());
        };
        // SAFETY: the callback's frames hold nothing.
        let _ = unsafe { needm::callback_catching_faults(|cx| cx.ccall(inner)) };
        went_on();
    }

    pub(super) fn an_inner_safe_callback_on_the_g_is_not_recovered_by_the_outer() {
        start();
        // SAFETY: the callback's frames hold nothing.
        let _ = unsafe {
            needm::callback_catching_faults(|_| needm::callback(|_| write_through_null()))
        };
        went_on();
    }

    pub(super) fn the_outer_one_catches_again_after_an_inner_safe_one() {
        start();
        for _ in 0..100 {
            // SAFETY: the callback's frames hold nothing where it faults.
            let ended = unsafe {
                needm::callback_catching_faults(|cx| {
                    needm::callback(|_| ()).expect("it returns");
                    let _ = cx.ccall(|| needm::callback(|_| ()).expect("it returns"));
                    write_through_null();
                })
            };
            assert!(matches!(ended, Err(CallbackError::Fault(_))));
        }
    }

    pub(super) fn a_fault_in_a_ccall_is_never_the_callbacks() {
        start();
        // SAFETY: the callback's frames hold nothing.
        let _ = unsafe { needm::callback_catching_faults(|cx| cx.ccall(write_through_null)) };
        went_on();
    }

    #[cfg(feature = "capi")]
    pub(super) fn a_size_with_the_tag_is_refused_from_c() {
        use std::ffi::{c_int, c_void};

        unsafe extern "C" {
            fn needm_callback(
                function: extern "C" fn(*mut c_void),
                frame: *mut c_void,
                size: usize,
                info: *mut c_void,
            ) -> c_int;
        }
        extern "C" fn nothing(_: *mut c_void) {}
        const WORDS: usize = 16;
        const INVALID: c_int = -3;
        let call = |size: usize| {
            let mut info = [size; WORDS];
            // SAFETY: `nothing` takes any frame, and the info is larger than any version's.
            unsafe { needm_callback(nothing, ptr::null_mut(), 0, info.as_mut_ptr().cast()) }
        };
        start();
        let tag = 1 << (usize::BITS - 1);
        let real = WORDS * size_of::<usize>();
        for tags in [tag, tag >> 1, tag | tag >> 1] {
            // The slow path of a first callback looks.
            assert_eq!(call(real | tags), INVALID);
            assert_eq!(call(tags), INVALID);
        }
        assert_eq!(call(real), 0);
        // The fast path does not, and nothing comes of it.
        assert_eq!(call(real | tag), 0);
    }
}
