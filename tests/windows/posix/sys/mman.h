/* What the programs of tests/c ask of POSIX for memory, by Windows's functions. A stack that is mapped
 * without access and then opened, above its start, is one as Windows wants it: `mprotect`. */
#ifndef POSIX_MMAN_H
#define POSIX_MMAN_H
#include "../../../c/check.h"
#define PSAPI_VERSION 2
#include <psapi.h>

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32 };
#define MAP_FAILED NULL
#define _SC_PAGESIZE 4096

static inline long sysconf(int what) { return what; }
static inline int protect(void *at, size_t length, DWORD protection) {
    DWORD old;
    return VirtualAlloc(at, length, MEM_COMMIT, protection) && VirtualProtect(at, length, protection, &old) ? 0 : -1;
}
static inline int mprotect(void *at, size_t length, int access) {
    return protect(at, length, access & PROT_WRITE ? PAGE_READWRITE : access & PROT_READ ? PAGE_READONLY : PAGE_NOACCESS);
}
static inline void *mmap(void *at, size_t length, int access, int flags, int file, long offset) {
    (void)file, (void)offset;
    if (flags & MAP_FIXED) { /* as if it were new */
        CHECK(VirtualFree(at, length, MEM_DECOMMIT));
        return mprotect(at, length, access) == 0 ? at : MAP_FAILED;
    }
    void *map = VirtualAlloc(at, length, MEM_RESERVE, PAGE_NOACCESS);
    if (map && access != PROT_NONE) CHECK_EQ(mprotect(map, length, access), 0);
    return map;
}
static inline int munmap(void *at, size_t length) {
    (void)length;
    return VirtualFree(at, 0, MEM_RELEASE) ? 0 : -1;
}
/* Whether a page takes memory: wine gives back what MEM_RESET says is not needed. */
static inline int mincore(void *page, size_t length, unsigned char *present) {
    PSAPI_WORKING_SET_EX_INFORMATION info = {.VirtualAddress = page};
    CHECK(length <= 4096 && QueryWorkingSetEx(GetCurrentProcess(), &info, sizeof info));
    *present = info.VirtualAttributes.Valid;
    return 0;
}
#endif
