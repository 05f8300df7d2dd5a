//! The thread pointer: the base of the segment that gs selects. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant II, as on x86_64.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`]; if
/// not, it ends there.
pub(crate) const TLS_ABOVE: bool = false;

/// Bytes at the thread pointer that belong to the host. The first word is the pointer
/// itself; compilers know of gs:20, a stack protector's word.
pub(crate) const TCB: usize = 32;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = true;

/// Sets this thread's thread pointer; the system's answer, negative if it refused.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and
/// nothing in what was there before is needed any more.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    /// `struct user_desc` (linux/arch/x86/include/uapi/asm/ldt.h).
    #[repr(C)]
    struct Descriptor {
        entry: u32,
        base: usize,
        limit: u32,
        flags: u32,
    }
    /// `seg_32bit`, `limit_in_pages`, `useable`.
    const FLAGS: u32 = 0x51;
    /// An entry of the system's choice.
    const ANY: u32 = u32::MAX;
    /// A selector: the entry, of the global table, for user code (Intel 64 and IA-32
    /// Architectures Software Developer's Manual, volume 3, 3.4.2).
    fn selector(entry: u32) -> u32 {
        entry << 3 | 3
    }
    let mut own = Descriptor { entry: ANY, base: pointer, limit: 0xf_ffff, flags: FLAGS };
    // SAFETY: the system reads the descriptor, and writes the entry it has chosen.
    let answer =
        unsafe { super::syscall::syscall(super::nr::SET_THREAD_AREA, &(&mut own,).into()) };
    if answer == 0 {
        // SAFETY: the entry is a segment of data now, based where the caller says.
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
