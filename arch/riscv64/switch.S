/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"

#define FRAME_BYTES  208

        .macro  spill   register, below
        sd      \register, FRAME_BYTES-\below(sp)
        .endm

        .macro  spill_fp register, below
        fsd     \register, FRAME_BYTES-\below(sp)
        .endm

/* fn needm_on_g0(fn (a0), arg (a1), out (a2), g0sp (a3))

   Calls fn(arg) on the system stack, between needm_left_g(out) and needm_back_to_g(out). The first
   word of out is the segment. First spills all callee-saved registers on the G's stack,
   so that a scan of that stack from SEG_GSP up sees them: fs0-fs11, too, in which a runtime
   may keep a pointer (one that is boxed in a NaN). Clobbers the caller-saved
   registers.

        the G's stack                  the system stack
                        <- CFA, s0     ...down to the caller's Call  <- a3
        ra              (s0-8)         fn
        s0              (s0-16)
        s1-s11          (s0-104 .. -24)
        fs0-fs11        (s0-200 .. -112)
        (padding)       <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. The order
   for other processors comes from `leave` and `enter` of src/running.rs, which the two
   functions call. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        LANDS_BY(.Lsites)
        addi    sp, sp, -FRAME_BYTES
        .cfi_def_cfa_offset FRAME_BYTES
        spill   ra, 8
        spill   s0, 16
        spill   s1, 24
        .cfi_offset ra, -8
        .cfi_offset s0, -16
        .cfi_offset s1, -24
        addi    s0, sp, FRAME_BYTES
        .cfi_def_cfa s0, 0
        spill   s2, 32
        spill   s3, 40
        .cfi_offset s2, -32
        .cfi_offset s3, -40
        /* The CFI has no rule for the others, because they are as at the call: fn keeps them. */
        spill   s4, 48
        spill   s5, 56
        spill   s6, 64
        spill   s7, 72
        spill   s8, 80
        spill   s9, 88
        spill   s10, 96
        spill   s11, 104
        spill_fp fs0, 112
        spill_fp fs1, 120
        spill_fp fs2, 128
        spill_fp fs3, 136
        spill_fp fs4, 144
        spill_fp fs5, 152
        spill_fp fs6, 160
        spill_fp fs7, 168
        spill_fp fs8, 176
        spill_fp fs9, 184
        spill_fp fs10, 192
        spill_fp fs11, 200
        mv      s1, a2                          /* s1: out */
        mv      s2, a0                          /* s2: fn */
        mv      s3, a1                          /* s3: arg */
        ld      t1, 0(s1)                       /* the segment */
        sd      sp, SEG_GSP(t1)
        mv      sp, a3
        OTHER_STACK
        mv      a0, s1
        call    needm_left_g
        mv      a0, s3
        jalr    s2
.Lfrom_fn:
        mv      a0, s1
        call    needm_back_to_g
        OTHER_STACK_END
        .cfi_remember_state
        addi    sp, s0, -FRAME_BYTES
        .cfi_def_cfa sp, FRAME_BYTES
        ld      t1, 0(s1)
        sd      zero, SEG_GSP(t1)
        ld      ra, FRAME_BYTES-8(sp)
        .cfi_restore ra
        ld      s0, FRAME_BYTES-16(sp)
        .cfi_restore s0
        ld      s1, FRAME_BYTES-24(sp)
        .cfi_restore s1
        ld      s2, FRAME_BYTES-32(sp)
        .cfi_restore s2
        ld      s3, FRAME_BYTES-40(sp)
        .cfi_restore s3
        addi    sp, sp, FRAME_BYTES
        .cfi_def_cfa_offset 0
        ret
        .cfi_restore_state

        /* The landing pad: something unwinds the stack, and fn's frames are gone. It goes on on the
           G. On the system stack; a0: the exception; a1: _Unwind_Resume; s1: out. */
.Lunwound:
        mv      s2, a0
        mv      s3, a1
        mv      a0, s1
        call    needm_back_to_g
        addi    sp, s0, -FRAME_BYTES
        ld      t1, 0(s1)
        sd      zero, SEG_GSP(t1)
        mv      a0, s2
        jalr    s3
        unimp
        .cfi_endproc
END(needm_on_g0)

SITES(.Lsites, .Lunwound)
        SITE(.Lfrom_fn)
SITES_END

/* fn needm_sp() -> usize (a0)

   The caller's stack pointer: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        mv      a0, sp
        ret
        .cfi_endproc
END(needm_sp)
