/* The shared library can be loaded, stopped, unloaded and loaded again, and two copies of it
 * work in one process: unload LIBRARY COPY. */
#include "copies.h"

static void *calls(void *arg) {
    CHECK_EQ(one.callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    return arg;
}
static void the_library_can_be_unloaded_and_loaded_again(const char *path) {
    for (int i = 0; i < rounds(50) + 2; i++) {
        one = load(path);
        CHECK_EQ(one.start(NULL), 0);
        calls(NULL);
        join(thread(calls, NULL));
        CHECK_EQ(one.stop(), 0);
        CHECK_EQ(dlclose(one.library), 0);
        join(thread((void *(*)(void *))(uintptr_t)pthread_self, NULL));
    }
}
int main(int argc, char **argv) {
    CHECK_EQ(argc, 3);
    one = load(argv[1]), two = load(argv[2]);
    /* First, because under qemu-i386 no handler returns right once there has been a thread. */
    two_copies_nest_in_each_other_and_each_handles_its_own_faults();
    CHECK_EQ(dlclose(one.library), 0);
    CHECK_EQ(dlclose(two.library), 0);
    the_library_can_be_unloaded_and_loaded_again(argv[1]);
    return SUCCESS;
}
