// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where assembly finds things: the one table of offsets.
//!
//! `build.rs` includes this file and writes `offsets.h` from [`TABLE`] for the target's word
//! size, which may be another than the build machine's: hence offsets in words, and nothing of
//! the crate in this file. From the same rows come the `prove_…!` macros. The module of a
//! struct calls its macro, with the struct's type, and a wrong offset does not compile. Nor does
//! a struct that nothing proves: `src/lib.rs` denies unused macros here.
//!
//! A row `M = 0 => m` of the record with the prefix `TLS_` is the constant `layout::tls::M` in
//! Rust and `TLS_M` in assembly, and says that the struct's field `m` is at word 0. A size is
//! `…_BYTES` in assembly.
#![allow(dead_code)] // build.rs and the crate each use a part

/// A name for assembly, and its value where a word has so many bytes.
pub(crate) type Row = (&'static str, fn(usize) -> usize);

/// The offset in bytes of what is counted in this unit.
macro_rules! bytes {
    (words, $value:expr, $word:expr) => {
        $value * $word
    };
    (bytes, $value:expr, $word:expr) => {
        $value
    };
    // Words, and three 32-bit numbers before the last ones, which start aligned.
    (words_and_ints, $value:expr, $word:expr) => {
        $value * $word + 12_usize.next_multiple_of($word)
    };
}

pub(crate) use bytes;

macro_rules! records {
    ($dollar:tt $(
        $(#[$about:meta])*
        mod $module:ident ($prefix:literal, $unit:ident, $prove:ident) {
            fields { $( $(#[$doc:meta])* $name:ident = $at:expr => $($field:ident).+; )* }
            $( size $size_unit:ident { $(#[$size_doc:meta])* $size:ident = $len:expr; } )?
            $( numbers { $( $(#[$also:meta])* $number:ident: $type:ty = $value:expr; )* } )?
        }
    )*) => {
        $(
            $(#[$about])*
            pub(crate) mod $module {
                $( $(#[$doc])* pub(crate) const $name: usize = $at; )*
                $( $(#[$size_doc])* pub(crate) const $size: usize = $len; )?
                $( $( $(#[$also])* pub(crate) const $number: $type = $value; )* )?

                /// All of these, for `offsets.h`.
                pub(super) const ROWS: &[crate::layout::Row] = &[
                    $( (concat!($prefix, stringify!($name)), |_w| bytes!($unit, $name, _w)), )*
                    $( (concat!($prefix, "BYTES"), |_w| bytes!($size_unit, $size, _w)), )?
                    $( $( (concat!($prefix, stringify!($number)), |_| $number as usize), )* )?
                ];
            }

            /// Does not compile unless the fields and the size of a struct are as these rows say.
            macro_rules! $prove {
                ($dollar record:ty) => {
                    const _: () = {
                        use $crate::layout::{$module as rows, bytes};
                        const _WORD: usize = size_of::<usize>();
                        $( assert!(
                            core::mem::offset_of!($dollar record, $($field).+)
                                == bytes!($unit, rows::$name, _WORD)
                        ); )*
                        $( assert!(
                            size_of::<$dollar record>() == bytes!($size_unit, rows::$size, _WORD)
                        ); )?
                    };
                };
            }
            pub(crate) use $prove;
        )*

        /// The rows of all records.
        pub(crate) const TABLE: &[&[Row]] = &[$($module::ROWS),*];
    };
}

records! { $
    /// The thread-local block that entry code reads.
    mod tls ("TLS_", words, prove_tls) {
        fields {
            /// The thread's current M, or 0.
            M = 0 => m;
            /// The gate's value for which the thread's own M may run a callback with no other
            /// check; 0 if for none.
            BOUND_EPOCH = 1 => bound_epoch;
            /// The thread's own record, or 0.
            THREAD = 2 => thread;
            /// The gate's value for which the thread may bind the M that it had last with no
            /// other check; 0 if for none.
            REBIND_EPOCH = 3 => rebind_epoch;
            /// Where the thread is inside needm, on a G; 0 if nowhere.
            INSIDE = 4 => inside;
        }
        size words {
            /// Words in the block.
            WORDS = 6;
        }
    }

    /// The two 32-bit numbers that every callback reads.
    mod gate ("GATE_", bytes, prove_gate) {
        fields {
            /// The gate (`gate.rs`).
            VALUE = 0 => value;
            /// How many threads wait for an M (`pool/`).
            WAITERS = 4 => waiters;
        }
        size bytes {
            /// Bytes of both.
            BYTES = 8;
        }
        numbers {
            /// The bit of [`VALUE`] which says that callbacks leave floating-point control alone.
            LEAVES_FP: u32 = 4;
        }
    }

    /// An M.
    mod m ("M_", words, prove_m) {
        fields {
            /// 0 outside callbacks; else the innermost segment and [`SEGMENT`], or on the fast
            /// paths the call (`m/mod.rs`).
            SEG = 0 => seg;
            /// The top of the G's stack.
            TOP = 1 => top;
            /// Not 0 if a callback's plain return leaves cleanup to do.
            NEEDS_CLEANUP = 2 => needs_cleanup;
            /// Where callbacks come from that are known not to be a handler's on a signal stack: the
            /// lowest address.
            KNOWN_LO = 3 => known.lo;
            /// Bytes of that; 0 keeps the M off the fast paths.
            KNOWN_LEN = 4 => known.len;
            /// Which thread it is bound to, in 32 bits (`pool/`).
            STATE = 5 => state;
            /// The thread that it is bound to, or was bound to last.
            THREAD = 7 => thread;
            /// The segment of the outermost callback.
            BASE = 8 => base;
            /// The lowest usable address of the G.
            STACK_LO = BASE + crate::layout::segment::WORDS + 1 => stack.lo;
            /// One past its highest usable address.
            STACK_HI = STACK_LO + 1 => stack.hi;
        }
        numbers {
            /// Bytes of the reserve below [`STACK_LO`] on a system that handles an overflow there.
            GUARANTEED: usize = 32 * 1024;
            /// The bit of [`SEG`] which says that the rest of it is a segment, not a call.
            SEGMENT: usize = 2;
            /// Beside a call in [`SEG`]: the callback bound its M and unbinds it again.
            BOUND_HERE: usize = 1;
            /// Beside a segment in [`SEG`]: no callback code runs.
            PARKED: usize = 1;
            /// [`STATE`] of an M that is on the extra list and bound to no thread.
            IDLE: u32 = 3;
        }
    }

    /// A thread's record.
    mod thread ("THREAD_", words, prove_thread) {
        fields {
            /// The innermost M that is bound to it, or about to be.
            M = 0 => m;
            /// The M that it had last.
            LAST = 1 => last;
            /// `m::STATE` of an M on the extra list that is bound to it.
            CLAIM = 2 => claim;
            /// `m::KNOWN_LO` of an M that it binds.
            KNOWN_LO = 3 => ready.room.known.lo;
            /// `m::KNOWN_LEN` of an M that it binds.
            KNOWN_LEN = 4 => ready.room.known.len;
        }
    }

    /// A segment: the record of one callback's part of a G's stack.
    mod segment ("SEG_", words, prove_segment) {
        fields {
            /// The caller's `call`.
            CALL = 0 => call;
            /// The G's stack pointer while C runs on the system stack, else 0.
            GSP = 1 => gsp;
            /// Deferred functions that are pending here.
            DEFERS = 2 => deferred;
            /// The segment around this one.
            PREV = 3 => prev;
        }
        size words {
            /// Words in a segment; a multiple of four, so that it ends aligned for a call.
            WORDS = if cfg!(any(feature = "asan", feature = "tsan")) { 20 } else { 16 };
        }
    }

    /// A call: the record that entry code leaves on the caller's stack, below the registers
    /// it saved.
    mod call ("CALL_", words, prove_call) {
        fields {
            /// Where the caller wants an ending described (`needm_panic_info`), or 0.
            INFO = 0 => info;
            /// The function to run.
            FN = 1 => function;
            /// The caller's frame for it.
            FRAME = 2 => frame;
            /// Bytes to copy to and from the G's stack, or 0.
            SIZE = 3 => size;
            /// What the function is given: the frame or its copy.
            ARG = 4 => arg;
            /// The M that runs it, and what is to be done on its G before that ([`PENDING`]);
            /// the error code if no M does.
            OUT = 5 => out;
        }
        size words {
            /// Words in a call.
            WORDS = 6;
        }
        numbers {
            /// The bits of [`OUT`] for what is to be done.
            PENDING: usize = 31;
            /// The one of them that stays set: the call is on the G itself, its segment below.
            ON_G: usize = 1;
            /// The code of a callback that an exception leaves: it goes on in the caller. No error
            /// has it. `needm_unwound` has put the exception in [`FN`], and what it goes on with
            /// in [`OUT`].
            UNWOUND: usize = 1;
        }
    }

    /// What a fault leaves on the G's stack.
    mod fault ("FAULT_", words, prove_fault) {
        fields {
            /// The stack pointer at the fault.
            SP = 0 => sp;
            /// The instruction that faulted.
            PC = 1 => pc;
        }
        size words_and_ints {
            /// Members of a word: `sp`, `pc`, `addr`, `kept`. `kind`, `signo` and `code` are 32 bits
            /// each.
            WORDS = 4;
        }
        numbers {
            /// Beside the number of a signal: needm's second handler was called.
            SECOND: i32 = 256;
        }
    }

    /// The C `needm_panic_info`, in its first version.
    mod panic_info ("INFO_", words, prove_panic_info) {
        fields {
            /// Bytes of it, as the caller counts them.
            SIZE = 0 => size;
        }
        size words_and_ints {
            /// Members of a word: `size`, `addr`, `pc`, `value`. `kind`, `signo` and `code` are
            /// 32 bits each.
            WORDS = 4;
        }
    }
}
