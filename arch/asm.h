/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What every assembly file includes: the offsets into needm's records (offsets.h, which
   build.rs writes from the table of src/layout.rs), and the words of the object format. */
#include "offsets.h"
#ifdef _WIN32
#include "pe.h"
#else
#include "elf.h"
#endif
