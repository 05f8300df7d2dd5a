/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The frame of needm_entry, below its ebp; entry.S draws it. */
#define SAVED_BYTES     12              /* ebx, esi, edi */
#define MXCSR           -16
#define FCW             -20
#define FIELDS          -40             /* the caller's stack fields */
#define FRAME_BYTES     (40 + CALL_BYTES)

/* From a call's record to the stack fields of its caller. */
#define CALL_FIELDS     CALL_BYTES

/* Room for up to four arguments of a call. */
#define ARGS            16
