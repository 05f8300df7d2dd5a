/* Fibers: a callback on each, a switch to another in C that a callback called, and one inside a callback,
 * where the fiber is a further stack. */
#include "../c/check.h"

static void *first, *other;
static volatile long on_other, faults_seen;
static void check_stack(void) {
    char here;
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    CHECK(&here >= (char *)tib->StackLimit && &here < (char *)tib->StackBase);
}
static void adds_and_checks(void *sum) {
    check_stack();
    add(sum);
}
static void WINAPI calls_back(void *arg) {
    (void)arg;
    for (;;) {
        long sum = 0;
        check_stack();
        CHECK_EQ(needm_callback(adds_and_checks, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 1);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        check_stack();
        on_other++;
        SwitchToFiber(first);
    }
}
static void switches(void *arg) {
    (void)arg;
    SwitchToFiber(other);
}
static void switches_in_c(void *sum) {
    CHECK_EQ(needm_ccall(switches, NULL), 0);
    check_stack();
    add(sum);
    if (faults_seen++ % 2) fault(NULL);
}
static void *all(void *arg) {
    first = ConvertThreadToFiber(NULL);
    other = CreateFiber(0, calls_back, NULL);
    CHECK(first && other);
    long before = on_other;
    for (int i = 0; i < rounds(200); i++) {
        long sum = 0;
        NT_TIB then = *(NT_TIB *)NtCurrentTeb();
        SwitchToFiber(other);
        int ended = needm_callback(switches_in_c, &sum, 0, NULL);
        CHECK(ended == 0 || ended == NEEDM_EFAULT);
        CHECK_EQ(sum, 1);
        NT_TIB now = *(NT_TIB *)NtCurrentTeb();
        CHECK(now.StackBase == then.StackBase && now.FiberData == then.FiberData);
        check_stack();
    }
    CHECK_EQ(on_other, before + 2 * rounds(200));
    DeleteFiber(other);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    CHECK(ConvertFiberToThread());
    return arg;
}

/* ---- inside a callback */

static struct inner {
    void *self, *lo, *hi;
    void (*ends)(void *);
    int ran;
} inner;
static void WINAPI runs_inside(void *arg) {
    struct inner *in = arg;
    ULONG_PTR lo, hi;
    GetCurrentThreadStackLimits(&lo, &hi);
    in->lo = (void *)lo, in->hi = (void *)hi;
    for (;;) {
        SwitchToFiber(first);
        ULONG kept = 32768; /* for handlers of an overflow: on a fiber it is the host that asks for it */
        CHECK(SetThreadStackGuarantee(&kept));
        long sum = 0;
        check_stack();
        CHECK_EQ(needm_callback(adds_and_checks, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_ccall(add, &sum), 0);
        check_stack();
        CHECK_EQ(needm_depth(), 1);
        CHECK_EQ(sum, 2);
        in->ran++;
        if (in->ends) in->ends(NULL);
    }
}
static void goes_to_a_fiber(void *arg) {
    struct inner *in = arg;
    needm_stack old;
    CHECK_EQ(needm_enter_stack(in->lo, in->hi, &old), 0);
    SwitchToFiber(in->self);
    CHECK_EQ(needm_leave_stack(&old), 0);
    check_stack();
    OutputDebugStringA("on the G again");
}
static void make_inner(void) {
    first = ConvertThreadToFiber(NULL);
    inner = (struct inner){.self = CreateFiberEx(65536, 262144, 0, runs_inside, &inner)};
    CHECK(first && inner.self);
    SwitchToFiber(inner.self); /* which says where its stack is */
}
static void *a_fiber_inside_a_callback(void *arg) {
    make_inner();
    for (int i = 0; i < rounds(200); i++) {
        CHECK_EQ(needm_callback(goes_to_a_fiber, &inner, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        check_stack();
    }
    CHECK_EQ(inner.ran, rounds(200));
    DeleteFiber(inner.self);
    CHECK(ConvertFiberToThread());
    return arg;
}
/* For Windows the thread is then on that fiber still, and must not switch any more. */
static void *an_ending_on_a_fiber(void *arg) {
    static const int results[] = {NEEDM_EFAULT, NEEDM_EPANIC, NEEDM_EOVERFLOW};
    static void (*const ends[])(void *) = {fault, panic, overflow};
    make_inner();
    inner.ends = ends[(intptr_t)arg];
    NT_TIB then = *(NT_TIB *)NtCurrentTeb();
    CHECK_EQ(needm_callback(goes_to_a_fiber, &inner, 0, NULL), results[(intptr_t)arg]);
    CHECK_EQ(inner.ran, 1);
    NT_TIB now = *(NT_TIB *)NtCurrentTeb();
    CHECK(now.StackBase == then.StackBase && now.StackLimit == then.StackLimit);
    for (int i = 0; i < rounds(100); i++) {
        long sum = 0;
        CHECK_EQ(needm_callback(adds_and_checks, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 1);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    return arg;
}

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    all(NULL);
    join(thread(all, NULL));
    CHECK(stats().ms_total <= 6);
    join(thread(a_fiber_inside_a_callback, NULL));
    for (intptr_t end = 0; end < 3; end++) join(thread(an_ending_on_a_fiber, (void *)end));
    stop_when_idle();
    return SUCCESS;
}
