/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Steps of needm_entry that are the same on every system. The file that includes this says where its frame
   has what: FRAME_BYTES, SAVED_BYTES, ARGS, MXCSR, FCW; its picture is there, too. */

        /* esp: aligned, with room for arguments below Call, whichever stack it was on. */
        .macro  align
        leal    -(FRAME_BYTES + ARGS)(%ebp), %esp
        andl    $-16, %esp
        .endm

        .macro  save_control
        stmxcsr MXCSR(%ebp)
        fnstcw  FCW(%ebp)
        .endm

        /* A handler overwrites what is below esp (there is no red zone), so the CFI stops
           pointing to a register's place before esp moves over it. */
        .macro  restore_and_return
        .cfi_remember_state
        leal    -SAVED_BYTES(%ebp), %esp
        pop_and_return
        .cfi_restore_state
        .endm

        /* esp: edi's place. */
        .macro  pop_and_return
        popl    %edi
        .cfi_restore edi
        popl    %esi
        .cfi_restore esi
        popl    %ebx
        .cfi_restore ebx
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .endm

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. edx: info. Clobbers edx. */
        .macro  check_call path, other
        cmpl    $0, 8(%ebp)
        je      .Lslow
        orl     \other, %edx
        orl     16(%ebp), %edx                  /* bytes to copy? */
        jne     .Lspecial_\path
.Lplain_\path:
        .endm

        /* To .Lslow unless the caller is where no handler on a signal stack is (where there are no such
           stacks, everywhere, but for `keep_off_fast_paths` in src/m/mod.rs). Clobbers edx. */
        .macro  check_stack lo, len
        movl    %esp, %edx
        subl    \lo, %edx
        cmpl    \len, %edx
        jae     .Lslow
        .endm

        /* Floating-point control, if the gate's value in esi asks for it. */
        .macro  check_control path
        testl   $GATE_LEAVES_FP, %esi
        jne     .Lbegin_\path
        save_control
        .endm
