// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread pointer: the base of the segment that gs selects. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant II, as on x86_64.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`] bytes; if not, it
/// ends at the pointer.
pub(crate) const TLS_ABOVE: bool = false;

/// Bytes at the thread pointer that belong to the host: the pointer itself, and the words that
/// compilers know of, of which the stack protector's, gs:20, is the farthest (GCC manual, "x86
/// Options", -mstack-protector-guard).
pub(crate) const TCB: usize = 32;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = true;

/// Sets this thread's thread pointer; the answer of Linux, negative if it refused.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and no code uses the
/// storage that the thread had before.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    /// `struct user_desc` (linux/arch/x86/include/uapi/asm/ldt.h): its bit fields are `flags`.
    #[repr(C)]
    struct Descriptor {
        entry: u32,
        base: usize,
        limit: u32,
        flags: u32,
    }
    /// `seg_32bit`, `limit_in_pages` and `useable` of it.
    const FLAGS: u32 = 0x51;
    /// The entry that Linux chooses (set_thread_area(2)).
    const ANY: u32 = u32::MAX;
    /// A selector: the entry, of the global table, for user code (Intel 64 and IA-32
    /// Architectures Software Developer's Manual, volume 3, 3.4.2).
    fn selector(entry: u32) -> u32 {
        entry << 3 | 3
    }
    let mut own = Descriptor { entry: ANY, base: pointer, limit: 0xf_ffff, flags: FLAGS };
    // SAFETY: Linux reads one descriptor and writes the number of the entry that it has chosen into
    // it; `own` is this function's, and borrowed for that.
    let answer =
        unsafe { super::syscall::syscall(super::nr::SET_THREAD_AREA, &(&mut own,).into()) };
    if answer == 0 {
        // SAFETY: Linux has filled in the entry, so the selector is one of a segment of data, with
        // its base at `pointer`. What is there is laid out, by this function's own contract, and no
        // compiled code uses gs for anything but thread-local storage.
        unsafe {
            core::arch::asm!(
                "mov gs, {0:e}",
                in(reg) selector(own.entry),
                options(nostack, preserves_flags),
            );
        }
    }
    answer
}
