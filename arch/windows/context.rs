// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a thread as Windows hands them to handlers of exceptions: `CONTEXT` in
//! winnt.h, of which the room has the offsets.

use super::super::room::windows::registers::{
    BYTES, CONTEXT_FLAGS, CONTROL, EFLAGS, FRAME_WORDS, PC, SP,
};
use crate::arch::windows::{needm_landing, needm_overflow_landing};
use crate::layout;

/// The flags for direction, single steps and checks of alignment (Intel 64 and IA-32 Architectures
/// Software Developer's Manual, volume 1, 3.4.3 "EFLAGS Register"): `needm_landing` starts without.
const CLEARED: u32 = 1 << 10 | 1 << 8 | 1 << 18;

/// A fault frame as registers have it, a word in each.
pub(crate) type Words = [usize; WORDS];
const WORDS: usize = layout::bytes!(words_and_ints, layout::fault::WORDS, WORD) / WORD;
const WORD: usize = size_of::<usize>();
/// The last word of a fault frame is 0 here (`os::fault::keep`), and `needm_landing` may add it.
const _: () = assert!(FRAME_WORDS.len() == WORDS || FRAME_WORDS.len() == WORDS - 1);

/// A `CONTEXT`.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct Context {
    bytes: [u8; BYTES],
}

impl Context {
    /// An empty one, for the instruction, the stack pointer and the flags.
    pub(crate) fn of_control() -> Self {
        let mut context = Self { bytes: [0; BYTES] };
        context.bytes[CONTEXT_FLAGS..CONTEXT_FLAGS + 4].copy_from_slice(&CONTROL.to_ne_bytes());
        context
    }

    fn word(&self, at: usize) -> usize {
        let mut word = [0; WORD];
        word.copy_from_slice(&self.bytes[at..at + WORD]);
        usize::from_ne_bytes(word)
    }

    fn set_word(&mut self, at: usize, word: usize) {
        self.bytes[at..at + WORD].copy_from_slice(&word.to_ne_bytes());
    }

    /// The instruction.
    pub(crate) fn pc(&self) -> usize {
        self.word(PC)
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.word(SP)
    }

    /// Makes them others.
    pub(crate) fn go_to(&mut self, pc: usize, sp: usize) {
        self.set_word(PC, pc);
        self.set_word(SP, sp);
    }

    /// Makes the thread go on as if it had called `function` before its next instruction.
    ///
    /// # Safety
    /// The thread is suspended. Below its stack pointer is room for all of the call.
    pub(crate) unsafe fn call(&mut self, function: unsafe extern "C" fn()) {
        let sp = self.sp() - size_of::<usize>();
        // SAFETY: there is room, in which nothing is in use, by this function's own contract.
        unsafe { *core::ptr::with_exposed_provenance_mut::<usize>(sp) = self.pc() };
        self.go_to(function as *const () as usize, sp);
    }

    /// Makes the thread go on at `needm_landing`, with a fault frame of these words at `frame`. The
    /// registers that they do not take are as at the fault. `overflow`: by way of `needm_rearm`.
    pub(crate) fn resume_at(&mut self, frame: usize, words: &Words, overflow: bool) {
        for (at, word) in FRAME_WORDS.into_iter().zip(words) {
            self.set_word(at, *word);
        }
        let landing: unsafe extern "C" fn() =
            if overflow { needm_overflow_landing } else { needm_landing };
        self.go_to(landing as *const () as usize, frame);
        let mut flags = [0; 4];
        flags.copy_from_slice(&self.bytes[EFLAGS..EFLAGS + 4]);
        let flags = u32::from_ne_bytes(flags) & !CLEARED;
        self.bytes[EFLAGS..EFLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
    }
}
