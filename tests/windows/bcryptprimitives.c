/* bcryptprimitives.dll, of which Rust's standard library takes random numbers, and which wine 8
 * lacks. Built by qemu/test for programs in Rust. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) {
    return SystemFunction036(bytes, (ULONG)count);
}
