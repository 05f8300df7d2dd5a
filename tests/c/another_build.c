/* The program's own copy of needm, and another build of it, the shared library, started in both orders:
 * another_build LIBRARY. */
#include "copies.h"

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    struct copy own = {.start = needm_start, .stop = needm_stop, .attach = needm_attach, .detach = needm_detach,
                       .callback = needm_callback, .ccall = needm_ccall};
    one = own, two = load(argv[1]);
    two_copies_nest_in_each_other_and_each_handles_its_own_faults();
    two = own, one = load(argv[1]);
    two_copies_nest_in_each_other_and_each_handles_its_own_faults();
    return SUCCESS;
}
