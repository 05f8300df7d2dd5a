/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Branch target identification (Arm Architecture Reference Manual for A-profile, "Branch Target
   Identification"). Every routine begins with a landing pad, because a pointer to it, a
   linkage table or a linker's veneer may lead there by an indirect branch. A processor without
   the feature takes the pad for a hint that it does not know, and goes on. */
#define LANDING_PAD     hint    #34             /* bti c, as every assembler can write it */
/* Where an unwinder goes on: it may come by a jump. */
#define UNWINDERS_PAD   hint    #38             /* bti jc */

/* Says so of the object file: GNU_PROPERTY_AARCH64_FEATURE_1_AND with the bit for BTI (ELF for
   the Arm 64-bit Architecture, "Program Property"). The linker passes it on to a program in
   which every file says the same.

   The bit for pointer authentication is not set, because needm signs no return address. Addresses
   that its callers have signed pass through as they are. */
        .pushsection .note.gnu.property, "a", %note
        .p2align 3
        .word   4, 16, 5                        /* bytes of the name, of the property; its type */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0             /* the property, its bytes, BTI, padding */
        .popsection
