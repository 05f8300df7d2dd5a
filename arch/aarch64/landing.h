/* Branch target identification (Arm Architecture Reference Manual for A-profile, D8.4.3 "Branch
   target identification"): every routine starts with a landing pad, because a pointer to it, a
   linkage table or a linker's veneer may lead there by an indirect branch. A processor without the
   feature takes the pad for a hint. The note below says so of each object file; the linker passes
   it on only if all files of a program have one.

   Return addresses that callers have signed (pointer authentication) go through needm as they
   are: it signs none of its own, because an ending leaves frames that would have to check them. */
#define LANDING_PAD     hint    #34             /* bti c, by a name that every assembler knows */

/* ELF for the Arm 64-bit Architecture, 6.2 "Program Property": GNU_PROPERTY_AARCH64_FEATURE_1_AND,
   with the bit for BTI. */
        .pushsection .note.gnu.property, "a", %note
        .p2align 3
        .word   4, 16, 5                        /* bytes of the name and of the property; its type */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0             /* the property, its bytes, BTI, padding */
        .popsection
