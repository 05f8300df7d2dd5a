//! Where assembly finds things: offsets in words, the one source of them.
//!
//! `build.rs` includes this file and writes `offsets.h` from it, multiplied by
//! the target's word size, so it may use nothing of the crate. The structs
//! prove their side with `const` assertions next to their definitions.
#![allow(dead_code)] // each includer uses some

/// Words of the thread-local block that the entry code reads.
pub(crate) mod tls {
    /// The thread's current M, or 0.
    pub(crate) const M: usize = 0;
    /// The gate's value for which [`M`] may be used without asking further; 0 if none.
    pub(crate) const BOUND_EPOCH: usize = 1;
    /// The thread's own record, or 0.
    pub(crate) const THREAD: usize = 2;
    /// The gate's value for which the M that the thread had last may be taken again
    /// without asking further; 0 if none.
    pub(crate) const REBIND_EPOCH: usize = 3;
    /// Words in the block.
    pub(crate) const WORDS: usize = 4;
}

/// The two 32-bit words that every callback reads, in bytes.
pub(crate) mod gate {
    /// The gate (`world.rs`).
    pub(crate) const VALUE: usize = 0;
    /// How many threads wait for an M (`extra/`).
    pub(crate) const WAITERS: usize = 4;
    /// Bytes of both.
    pub(crate) const BYTES: usize = 8;
}

/// Words of an M.
pub(crate) mod m {
    /// The innermost segment, 0 outside callbacks, and [`RUNNING`].
    pub(crate) const SEG: usize = 0;
    /// The bit of that word which says that callback code runs.
    pub(crate) const RUNNING: usize = 1;
    /// The top of the G's stack.
    pub(crate) const TOP: usize = 1;
    /// Not 0 if a callback's plain return leaves something to be done.
    pub(crate) const NEEDS_CLEANUP: usize = 2;
    /// The lowest address of the signal stack of the thread that holds it.
    pub(crate) const SIG_LO: usize = 3;
    /// Bytes of that signal stack; 0 without one.
    pub(crate) const SIG_LEN: usize = 4;
    /// Whose it is, in 32 bits (`extra/`).
    pub(crate) const STATE: usize = 5;
    /// That word of an M which is on the list and nobody's.
    pub(crate) const IDLE: u32 = 3;
    /// The segment of the outermost callback.
    pub(crate) const BASE: usize = 8;
    /// The thread that holds it, or had it last.
    pub(crate) const THREAD: usize = BASE + super::segment::WORDS;
}

/// Words of a thread's record.
pub(crate) mod thread {
    /// The innermost M that it holds, or is about to.
    pub(crate) const M: usize = 0;
    /// The M that it had last.
    pub(crate) const LAST: usize = 1;
    /// [`super::m::STATE`] of an M on the list that it holds.
    pub(crate) const CLAIM: usize = 2;
    /// The lowest address of its signal stack.
    pub(crate) const SIG_LO: usize = 3;
    /// Bytes of that signal stack; 0 without one.
    pub(crate) const SIG_LEN: usize = 4;
}

/// Words of a segment: the record of one callback's part of a G's stack.
pub(crate) mod segment {
    /// The caller's [`super::call`].
    pub(crate) const CALL: usize = 0;
    /// The G's stack pointer while C runs on the system stack, else 0.
    pub(crate) const GSP: usize = 1;
    /// Deferred functions that are pending here.
    pub(crate) const DEFERS: usize = 2;
    /// What is to be done at the end, in bits.
    pub(crate) const FLAGS: usize = 5;
    /// The one of them for a callback that took its M and gives it back.
    pub(crate) const BOUND_HERE: usize = 2;
    /// Words in a segment; a multiple of four, so that it ends aligned for a call.
    pub(crate) const WORDS: usize =
        if cfg!(any(feature = "asan", feature = "tsan")) { 16 } else { 12 };
}

/// Words of a call: the record that entry code leaves on the caller's stack,
/// below the registers it saved.
pub(crate) mod call {
    /// The function to run.
    pub(crate) const FN: usize = 0;
    /// The caller's frame for it.
    pub(crate) const FRAME: usize = 1;
    /// Bytes to copy to and from the G's stack, or 0.
    pub(crate) const SIZE: usize = 2;
    /// Where an ending is described, or 0.
    pub(crate) const INFO: usize = 3;
    /// What the function is given: the frame or its copy.
    pub(crate) const ARG: usize = 4;
    /// The M that runs it, and what is to be done on its G before that ([`PENDING`]);
    /// where none does, the error code.
    pub(crate) const OUT: usize = 5;
    /// The bits of that word for what is to be done.
    pub(crate) const PENDING: usize = 15;
    /// The one of them that stays: the call stands on the G itself, its segment below.
    pub(crate) const ON_G: usize = 1;
    /// Words in a call.
    pub(crate) const WORDS: usize = 6;
}

/// Words of a fault frame: what a fault leaves on the G's stack.
pub(crate) mod fault {
    /// The stack pointer at the fault.
    pub(crate) const SP: usize = 0;
    /// The instruction that faulted.
    pub(crate) const PC: usize = 1;
    /// Words in a fault frame.
    pub(crate) const WORDS: usize = 6;
}

/// Words of the first version of the C `needm_panic_info`, as `size` counts them.
pub(crate) mod panic_info {
    /// Bytes of the three 32-bit members.
    pub(crate) const INT_BYTES: usize = 12;
    /// Members of a word: `size`, `addr`, `pc`, `value`.
    pub(crate) const WORDS: usize = 4;
}
