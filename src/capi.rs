//! The C interface, `include/needm.h`: nothing but translation.
//!
//! # Safety
//! Pointers from C are null, or what the header says they are.
#![allow(unsafe_code)] // what C gives is taken at its word
#![allow(missing_docs)] // include/needm.h documents each
#![allow(clippy::missing_safety_doc)] // likewise

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::mem::{MaybeUninit, offset_of};
use core::ptr;

use crate::arch;
use crate::attach;
use crate::call::{Function, PanicInfo};
use crate::callback::{ccall, defer, panic};
use crate::error::Error;
use crate::lifecycle;
use crate::m::M;
use crate::reconcile;
use crate::settings::{Hooks, Settings, ThreadStart};
use crate::spawn;
use crate::stats;
use crate::world;

const BIND_THREAD: u32 = 0;
const BIND_CALL: u32 = 1;
const NO_SIGNALS: u32 = 1;
const UNRECOVERED_ABORTS: u32 = 2;

type MNew = unsafe extern "C" fn(*mut c_void, *const M) -> c_int;
type OnM = unsafe extern "C" fn(*mut c_void, *const M);

/// What `needm_each_m` calls: an M, the lowest address in use, one past the highest,
/// and the caller's own.
type Visit = unsafe extern "C" fn(*const M, *mut c_void, *mut c_void, *mut c_void) -> c_int;

/// `needm_hooks`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CHooks {
    size: usize,
    user: *mut c_void,
    m_new: Option<MNew>,
    m_free: Option<OnM>,
    minit: Option<OnM>,
    unminit: Option<OnM>,
    thread_start: Option<ThreadStart>,
}

/// `needm_config`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CConfig {
    size: usize,
    seed_ms: u32,
    max_ms: u32,
    stack_size: usize,
    signal_stack_size: usize,
    binding: u32,
    flags: u32,
    wait_ns: i64,
    hooks: *const CHooks,
    guard_size: usize,
    interrupt_signal: i32,
}

/// A struct that has grown since the first version of the interface.
///
/// # Safety
/// All zeros is a valid value.
unsafe trait Versioned: Copy {
    /// Its size in the first version.
    const FIRST: usize;
}

// SAFETY: integers, and a pointer that may be null.
unsafe impl Versioned for CConfig {
    const FIRST: usize = offset_of!(Self, guard_size);
}

// SAFETY: integers, a pointer that may be null, and optional functions.
unsafe impl Versioned for CHooks {
    const FIRST: usize = size_of::<Self>();
}

/// `needm_stats`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CStats {
    size: usize,
    counts: [u64; 9],
}

/// `needm_defer`: room for what the kernel may want to keep in it one day.
#[repr(C)]
struct CDefer {
    opaque: [usize; 4],
}

/// A copy of a struct whose first member is its size as C knows it. Smaller than in the first
/// version is refused; what a smaller one lacks is zero. Of a larger one the rest must be zero.
unsafe fn versioned<T: Versioned>(given: *const T) -> Result<T, Error> {
    // SAFETY: at least the size is there, and as many bytes as it says. All zeros is a `T`.
    unsafe {
        let size = given.cast::<usize>().read();
        if size < T::FIRST {
            return Err(Error::Invalid);
        }
        let bytes = given.cast::<u8>();
        for index in size_of::<T>()..size {
            if bytes.add(index).read() != 0 {
                return Err(Error::Invalid);
            }
        }
        let mut whole = MaybeUninit::<T>::zeroed();
        let known = size.min(size_of::<T>());
        ptr::copy_nonoverlapping(bytes, whole.as_mut_ptr().cast(), known);
        Ok(whole.assume_init())
    }
}

fn code(result: Result<(), Error>) -> c_int {
    result.map_or_else(Error::code, |()| 0)
}

unsafe fn settings(config: *const CConfig) -> Result<Settings, Error> {
    if config.is_null() {
        return Ok(Settings::DEFAULT);
    }
    // SAFETY: the caller's.
    let config = unsafe { versioned(config)? };
    if config.binding != BIND_THREAD && config.binding != BIND_CALL {
        return Err(Error::Invalid);
    }
    if config.interrupt_signal != 0 {
        return Err(Error::Invalid);
    }
    if config.flags & !(NO_SIGNALS | UNRECOVERED_ABORTS) != 0 {
        return Err(Error::Invalid);
    }
    let hooks = if config.hooks.is_null() {
        Hooks::NONE
    } else {
        // SAFETY: the caller's.
        let hooks = unsafe { versioned(config.hooks)? };
        Hooks {
            user: hooks.user,
            kind: None,
            m_new: hooks.m_new,
            m_free: hooks.m_free,
            minit: hooks.minit,
            unminit: hooks.unminit,
            thread_start: hooks.thread_start,
        }
    };
    Ok(Settings {
        seed_ms: config.seed_ms,
        max_ms: config.max_ms,
        stack_size: config.stack_size,
        guard_size: config.guard_size,
        signal_stack_size: config.signal_stack_size,
        binds_calls: config.binding == BIND_CALL,
        handles_signals: config.flags & NO_SIGNALS == 0,
        unrecovered_aborts: config.flags & UNRECOVERED_ABORTS != 0,
        wait_ns: u64::try_from(config.wait_ns).map_err(|_| Error::Invalid)?,
        hooks,
        ..Settings::DEFAULT
    })
}

arch::public! {
unsafe extern "C" fn needm_start(config: *const CConfig) -> c_int {
    // SAFETY: the caller's.
    code(unsafe { settings(config) }.and_then(lifecycle::start))
}
}

arch::public! {
extern "C" fn needm_stop() -> c_int {
    code(lifecycle::stop())
}
}

arch::c_entry! {
    fn needm_callback(
        function: Option<Function>,
        frame: *mut c_void,
        framesize: usize,
        info: *mut c_void
    ) -> c_int = arch::needm_entry
}

arch::public! {
unsafe extern "C" fn needm_ccall(function: Option<Function>, arg: *mut c_void) -> c_int {
    code(function.ok_or(Error::Invalid).and_then(|function| ccall::ccall(function, arg)))
}
}

arch::public! {
extern "C" fn needm_attach() -> c_int {
    code(attach::attach_ready())
}
}

arch::public! {
extern "C" fn needm_prefault(bytes: usize) -> c_int {
    code(attach::prefault(bytes))
}
}

arch::public! {
extern "C" fn needm_detach() -> c_int {
    code(attach::detach())
}
}

arch::public! {
unsafe extern "C" fn needm_spawn(function: Option<Function>, arg: *mut c_void) -> c_int {
    let main = |function| spawn::Main { function, arg, tags: 0, over: None };
    code(function.map(main).ok_or(Error::Invalid).and_then(spawn::spawn))
}
}

arch::public! {
unsafe extern "C" fn needm_defer_push(
    defer: *mut CDefer,
    function: Option<Function>,
    arg: *mut c_void,
) -> c_int {
    if defer.is_null() {
        return Error::Invalid.code();
    }
    code(function.ok_or(Error::Invalid).and_then(|function| defer::defer(function, arg)))
}
}

arch::public! {
extern "C" fn needm_panic(value: *mut c_void) -> ! {
    panic::panic(value)
}
}

arch::public! {
unsafe extern "C" fn needm_recover(info: *mut PanicInfo) -> c_int {
    if !PanicInfo::is_valid(info) {
        return 0;
    }
    let Some(panic) = panic::recover() else { return 0 };
    panic.fill(info);
    1
}
}

arch::public! {
extern "C" fn needm_self() -> *const M {
    reconcile::current_m().map_or(ptr::null(), ptr::from_ref)
}
}

arch::public! {
unsafe extern "C" fn needm_m_id(m: *const M) -> u64 {
    // SAFETY: null, or an M, which stays where it is.
    unsafe { m.as_ref() }.map_or(0, M::id)
}
}

arch::public! {
unsafe extern "C" fn needm_m_local(m: *const M) -> *mut c_void {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    unsafe { m.as_ref() }.map_or(ptr::null_mut(), M::local)
}
}

arch::public! {
unsafe extern "C" fn needm_m_set_local(m: *const M, local: *mut c_void) {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    if let Some(m) = unsafe { m.as_ref() } {
        m.set_local(local);
    }
}
}

arch::public! {
unsafe extern "C" fn needm_g_bounds(
    m: *const M,
    lo: *mut *mut c_void,
    hi: *mut *mut c_void,
) -> c_int {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    let Some(m) = (unsafe { m.as_ref() }) else { return Error::Invalid.code() };
    let (low, high) = m.g_bounds();
    for (out, bound) in [(lo, low), (hi, high)] {
        if !out.is_null() {
            // SAFETY: where C wants it written.
            unsafe { out.write(bound as *mut c_void) };
        }
    }
    0
}
}

arch::public! {
extern "C" fn needm_stop_the_world() -> c_int {
    code(world::stop())
}
}

arch::public! {
extern "C" fn needm_start_the_world() -> c_int {
    code(world::start())
}
}

arch::public! {
extern "C" fn needm_safepoint() {
    world::safepoint();
}
}

arch::public! {
unsafe extern "C" fn needm_each_m(visit: Option<Visit>, arg: *mut c_void) -> c_int {
    let Some(visit) = visit else { return Error::Invalid.code() };
    let visited = world::each_m(|m, sp, hi| {
        // SAFETY: the caller's function, with its own argument.
        unsafe { visit(m, sp as *mut c_void, hi as *mut c_void, arg) }
    });
    visited.unwrap_or_else(Error::code)
}
}

arch::public! {
extern "C" fn needm_atfork_child() {
    lifecycle::fork_child();
}
}

arch::public! {
unsafe extern "C" fn needm_get_stats(out: *mut CStats) {
    if out.is_null() {
        return;
    }
    let stats = stats::stats();
    let full = CStats {
        size: 0,
        counts: [
            stats.ms_total,
            stats.ms_idle,
            stats.ms_bound,
            stats.ms_reclaimed,
            stats.waits,
            stats.timeouts,
            stats.panics,
            stats.faults,
            stats.overflows,
        ],
    };
    // SAFETY: as many bytes as its size says are the caller's; the size itself is
    // left as it is.
    unsafe {
        let size = (*out).size.min(size_of::<CStats>());
        let from = size_of::<usize>().min(size);
        let source = (&raw const full).cast::<u8>();
        ptr::copy_nonoverlapping(source.add(from), out.cast::<u8>().add(from), size - from);
    }
}
}

arch::public! {
extern "C" fn needm_strerror(error: c_int) -> *const c_char {
    let meaning = match error {
        0 => c"no error",
        _ => Error::from_code(error).map_or(c"unknown error", Error::meaning),
    };
    meaning.as_ptr()
}
}

arch::public! {
extern "C" fn needm_error_name(error: c_int) -> *const c_char {
    let name = match error {
        0 => c"0",
        _ => Error::from_code(error).map_or(c"unknown error", Error::name),
    };
    name.as_ptr()
}
}

arch::public! {
extern "C" fn needm_depth() -> c_uint {
    reconcile::depth()
}
}

arch::public! {
extern "C" fn needm_stack_left() -> usize {
    reconcile::stack_left()
}
}

/// A part of the version, as Cargo has it in decimal.
const fn part(text: &str) -> u32 {
    let (digits, mut at, mut value) = (text.as_bytes(), 0, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// As `NEEDM_VERSION` is made.
const VERSION: u32 = part(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
    + part(env!("CARGO_PKG_VERSION_MINOR")) * 1000
    + part(env!("CARGO_PKG_VERSION_PATCH"));

arch::public! {
extern "C" fn needm_version() -> u32 {
    VERSION
}
}
