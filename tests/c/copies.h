/* Two copies of needm in one process: what unload.c and another_build.c share. */
#include "check.h"
#include <dlfcn.h>

struct copy {
    void *library;
    int (*start)(const needm_config *), (*stop)(void), (*attach)(void), (*detach)(void);
    int (*callback)(void (*)(void *), void *, size_t, needm_panic_info *);
    int (*ccall)(void (*)(void *), void *);
};
static struct copy load(const char *path) {
    struct copy k = {.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!k.library) fprintf(stderr, "%s\n", dlerror());
    CHECK(k.library);
    *(void **)&k.start = dlsym(k.library, "needm_start");
    *(void **)&k.stop = dlsym(k.library, "needm_stop");
    *(void **)&k.attach = dlsym(k.library, "needm_attach");
    *(void **)&k.detach = dlsym(k.library, "needm_detach");
    *(void **)&k.callback = dlsym(k.library, "needm_callback");
    *(void **)&k.ccall = dlsym(k.library, "needm_ccall");
    CHECK(k.start && k.stop && k.attach && k.detach && k.callback && k.ccall);
    return k;
}
static struct copy one, two;
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
/* Called on the other's G, without C in between. */
static void ends_and_is_told(struct copy *inner, void (*ending)(void *), int want) {
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    CHECK_EQ(inner->callback(ending, NULL, 0, &info), want);
    CHECK_EQ(info.kind, want);
}
static void nests_directly(void *arg) {
    struct copy *inner = arg, *outer = inner == &one ? &two : &one;
    volatile char frame[512];
    memset((void *)frame, 0x5a, sizeof frame);
    ends_and_is_told(inner, fault, NEEDM_EFAULT);
    ends_and_is_told(inner, overflow, NEEDM_EOVERFLOW);
    ends_and_is_told(outer, fault, NEEDM_EFAULT);
    for (unsigned i = 0; i < sizeof frame; i++) CHECK_EQ(frame[i], 0x5a);
}
static void *nests_both_ways(void *arg) {
    for (int i = 0; i < rounds(50); i++) {
        CHECK_EQ(one.callback(nests_directly, &two, 0, NULL), 0);
        CHECK_EQ(two.callback(nests_directly, &one, 0, NULL), 0);
    }
    return arg;
}
/* A thread that is attached to both leaves one of them; its overflows in the other are errors still,
 * and its signal stack is gone when it has left both. */
static void *leaves_one(void *first_leaves) {
    struct copy *first = first_leaves ? &one : &two, *last = first_leaves ? &two : &one;
    stack_t now;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(one.attach(), 0);
        CHECK_EQ(two.attach(), 0);
        CHECK_EQ(one.callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(two.callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(first->detach(), 0);
        CHECK_EQ(last->callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(last->callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(first->callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(last->callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(first->detach(), 0);
        CHECK_EQ(last->detach(), 0);
        if (last != &one) continue; /* the stack was the first one's: it stays until the thread's end */
        CHECK_EQ(sigaltstack(NULL, &now), 0);
        CHECK(now.ss_flags & SS_DISABLE);
    }
    return NULL;
}
static void two_copies_share_a_signal_stack(void) {
    for (int i = 0; i < 20; i++) {
        join(thread(leaves_one, NULL));
        join(thread(leaves_one, &one));
    }
}
static void two_copies_nest_in_each_other_and_each_handles_its_own_faults(void) {
    CHECK(one.callback != two.callback);
    CHECK_EQ(one.start(NULL), 0);
    CHECK_EQ(two.start(NULL), 0);
    both(NULL);
    nests_both_ways(NULL);
    /* A fault that comes through the other copy's handler ends by the signal's return. */
    if (!handlers_lose_their_thread()) {
        join(thread(both, NULL));
        join(thread(nests_both_ways, NULL));
        two_copies_share_a_signal_stack();
    }
    CHECK_EQ(two.stop(), 0);
    CHECK_EQ(one.stop(), 0);
}
