/* A signal stack that the thread installs after its first callbacks, in memory that is a stack of its own
 * no more, or lies next to one: a handler on it that calls back is seen to be one. Else a fault of its
 * callback would be handled over the handler's frames. */
#include "filter.h"
#include <sys/mman.h>
#include <ucontext.h>

enum { SIZE = 64 * 1024 };
static uint32_t binding;

static void *map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}
static stack_t installs(void *memory, size_t size) {
    stack_t stack = {.ss_sp = memory, .ss_size = size}, before;
    CHECK_EQ(sigaltstack(&stack, &before), 0);
    return before;
}
static void calls_back(void) { CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0); }

static volatile int handled, expected;
static void raises_usr2(void *arg) { raise(SIGUSR2), (void)arg; }
static void fills_its_stack(int signal) {
    volatile unsigned char frame[2048];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = (unsigned char)signal;
}
static void calls_back_from_a_handler(int signal) {
    volatile unsigned char frame[512];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0x77;
    CHECK_EQ(needm_callback(signal == SIGUSR1 ? fault : raises_usr2, NULL, 0, NULL), expected);
    for (unsigned i = 0; i < sizeof frame; i++) CHECK_EQ(frame[i], 0x77);
    handled++;
}
static void a_handler_is_seen(void) {
    handled = 0;
    expected = NEEDM_EFAULT;
    raise(SIGUSR1);
    expected = 0;
    raise(SIGURG);
    CHECK_EQ(handled, 2);
}
/* In a thread of its own, whose stack and signal stack are as fresh. */
static void in_a_thread(void *(*body)(void *)) {
    struct sigaction action = {.sa_handler = calls_back_from_a_handler, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(sigaction(SIGURG, &action, NULL), 0);
    action.sa_handler = fills_its_stack;
    CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    start((needm_config){.binding = binding});
    join(thread(body, NULL));
    CHECK_EQ(needm_stop(), 0);
}

static ucontext_t own, coroutine;
static void on_a_stack(void *memory, size_t size, void (*body)(void)) {
    CHECK_EQ(getcontext(&coroutine), 0);
    coroutine.uc_stack.ss_sp = memory;
    coroutine.uc_stack.ss_size = size;
    coroutine.uc_link = &own;
    makecontext(&coroutine, body, 0);
    CHECK_EQ(swapcontext(&own, &coroutine), 0);
}
/* From places all over the stack. */
__attribute__((noinline)) static int calls_back_deeper(int levels) {
    volatile char room[256];
    room[0] = 0;
    calls_back();
    return levels ? calls_back_deeper(levels - 1) + room[0] : room[0];
}
static void calls_back_all_over(void) { calls_back_deeper(SIZE / 512); }
static void *has_unmapped_a_coroutine(void *arg) {
    char *memory = map(SIZE);
    calls_back();
    on_a_stack(memory, SIZE, calls_back_all_over);
    calls_back();
    CHECK(mmap(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
    installs(memory, SIZE);
    a_handler_is_seen();
    calls_back();
    a_handler_is_seen();
    return arg;
}
static void a_signal_stack_where_a_coroutine_was(void) { in_a_thread(has_unmapped_a_coroutine); }

/* The coroutine's callback is the outer one, and the thread calls back from its own stack within. */
static ucontext_t *volatile goes_to;
static ucontext_t inside;
static void switches(void *arg) {
    CHECK_EQ(swapcontext(&inside, goes_to), 0);
    (void)arg;
}
static void leaves_in_c(void *arg) { CHECK_EQ(needm_ccall(switches, arg), 0); }
static void is_left_in_a_callback(void) {
    CHECK_EQ(needm_callback(leaves_in_c, NULL, 0, NULL), 0);
}
static void *has_unmapped_an_outer_coroutine(void *arg) {
    char *memory = map(SIZE);
    goes_to = &own;
    on_a_stack(memory, SIZE, is_left_in_a_callback);
    calls_back();
    CHECK_EQ(swapcontext(&own, &inside), 0);
    installs(memory, SIZE);
    a_handler_is_seen();
    return arg;
}
static void a_signal_stack_where_an_outer_coroutine_was(void) { in_a_thread(has_unmapped_an_outer_coroutine); }

enum { SMALL = 16 * 1024 };
static void *has_one_between_coroutines(void *arg) {
    char *memory = map(3 * SMALL);
    for (int i = 0; i < 3; i++) {
        on_a_stack(memory, SMALL, calls_back);
        on_a_stack(memory + 2 * SMALL, SMALL, calls_back);
        if (i == 1) installs(memory + SMALL, SMALL);
    }
    a_handler_is_seen();
    return arg;
}
static void a_signal_stack_between_those_of_coroutines(void) { in_a_thread(has_one_between_coroutines); }

static char *below_its_stack;
static void *has_one_below(void *arg) {
    calls_back();
    calls_back();
    installs(below_its_stack, SMALL);
    a_handler_is_seen();
    return arg;
}
static void a_signal_stack_right_below_the_threads_own(void) {
    pthread_t made;
    pthread_attr_t given;
    size_t size = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    struct sigaction action = {.sa_handler = calls_back_from_a_handler, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    below_its_stack = map(SMALL + size);
    pthread_attr_init(&given);
    CHECK_EQ(pthread_attr_setstack(&given, below_its_stack + SMALL, size), 0);
    CHECK_EQ(pthread_create(&made, &given, has_one_below, NULL), 0);
    join(made);
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(a_signal_stack_where_a_coroutine_was);
    RUN(a_signal_stack_where_an_outer_coroutine_was);
    RUN(a_signal_stack_between_those_of_coroutines);
    RUN(a_signal_stack_right_below_the_threads_own);
    return SUCCESS;
}
