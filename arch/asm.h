/* What every assembly file includes: the offsets into needm's records (offsets.h, which
   build.rs writes from the table of src/layout.rs), and the words of the object format. */
#include "offsets.h"
#include "elf.h"
