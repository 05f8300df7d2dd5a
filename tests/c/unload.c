/* The shared library can be loaded, stopped, unloaded and loaded again, and two copies of it
 * work in one process: unload LIBRARY COPY. */
#include "check.h"
#include <dlfcn.h>

struct copy {
    void *library;
    int (*start)(const needm_config *), (*stop)(void);
    int (*callback)(void (*)(void *), void *, size_t, needm_panic_info *);
    int (*ccall)(void (*)(void *), void *);
};
static struct copy load(const char *path) {
    struct copy k = {dlopen(path, RTLD_NOW | RTLD_LOCAL), 0, 0, 0, 0};
    if (!k.library) fprintf(stderr, "%s\n", dlerror());
    CHECK(k.library);
    *(void **)&k.start = dlsym(k.library, "needm_start");
    *(void **)&k.stop = dlsym(k.library, "needm_stop");
    *(void **)&k.callback = dlsym(k.library, "needm_callback");
    *(void **)&k.ccall = dlsym(k.library, "needm_ccall");
    CHECK(k.start && k.stop && k.callback && k.ccall);
    return k;
}
static struct copy one, two;
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
static void innermost(void *arg) {
    CHECK_EQ(one.callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(two.callback(overflow, arg, 0, NULL), NEEDM_EOVERFLOW);
}
static void in_c_of_two(void *arg) { CHECK_EQ(one.callback(innermost, arg, 0, NULL), 0); }
static void on_two(void *arg) {
    CHECK_EQ(two.ccall(in_c_of_two, arg), 0);
    fault(NULL);
}
static void in_c_of_one(void *arg) { CHECK_EQ(two.callback(on_two, arg, 0, NULL), NEEDM_EFAULT); }
static void on_one(void *arg) {
    CHECK_EQ(one.ccall(in_c_of_one, arg), 0);
    fault(NULL);
}
static void *both(void *arg) {
    for (int i = 0; i < rounds(200); i++)
        CHECK_EQ(one.callback(on_one, arg, 0, NULL), NEEDM_EFAULT);
    return arg;
}
static void two_copies_nest_in_each_other_and_each_handles_its_own_faults(const char *a, const char *b) {
    one = load(a), two = load(b);
    CHECK(one.callback != two.callback);
    CHECK_EQ(one.start(NULL), 0);
    CHECK_EQ(two.start(NULL), 0);
    both(NULL);
    join(thread(both, NULL));
    CHECK_EQ(two.stop(), 0);
    CHECK_EQ(one.stop(), 0);
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 3);
    the_library_can_be_unloaded_and_loaded_again(argv[1]);
    two_copies_nest_in_each_other_and_each_handles_its_own_faults(argv[1], argv[2]);
    return SUCCESS;
}
