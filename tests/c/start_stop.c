/* Stops and starts while threads call in all the time: each callback runs or is refused,
   and no M is shared or lost. */
#include "check.h"

enum { THREADS = 4 };
static volatile int over;
static struct { long ran, refused; } count[THREADS];

static void *hurry(void *arg) {
    long own = 0, me = (long)arg;
    while (!over) {
        int answer = needm_callback(add, &own, 0, NULL);
        if (answer == 0)
            count[me].ran++;
        else {
            CHECK_EQ(answer, NEEDM_ENOTSTARTED);
            count[me].refused++;
        }
        CHECK_EQ(own, count[me].ran);
    }
    return NULL;
}

static void callbacks_survive_stops_and_starts(uint32_t binding) {
    pthread_t threads[THREADS];
    int stopped = 0, busy = 0;
    start((needm_config){.binding = binding});
    over = 0;
    memset(count, 0, sizeof count);
    for (long i = 0; i < THREADS; i++) threads[i] = thread(hurry, (void *)i);
    while (stopped < rounds(3000)) {
        int answer = needm_stop();
        if (answer == NEEDM_EBUSY) {
            busy++;
            continue;
        }
        CHECK_EQ(answer, 0);
        stopped++;
        CHECK_EQ(stats().ms_total, 0);
        start((needm_config){.binding = binding});
        CHECK(stats().ms_total <= 64);
    }
    over = 1;
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
    fprintf(stderr, "%d stops, %d busy, %ld ran, %ld refused in the first thread\n", stopped, busy,
            count[0].ran, count[0].refused);
}
/* Forks of a process that another thread is just then starting or stopping the kernel of:
   in the child it is started or stopped, and can be either. */
static void *starts_and_stops(void *arg) {
    while (!over) {
        start(*(needm_config *)arg);
        long sum = 0;
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        /* Busy while the other one is inside. */
        for (int answer = NEEDM_EBUSY; answer != 0;) {
            answer = needm_stop();
            CHECK(answer == 0 || answer == NEEDM_EBUSY);
        }
    }
    return NULL;
}
static int found_stopped;
static void *calls_once(void *arg) {
    CHECK_EQ(needm_callback(add, arg, 0, NULL), 0);
    return NULL;
}
static void is_started_or_stopped(void) {
    long sum = 0;
    int answer = needm_callback(add, &sum, 0, NULL);
    int stopped = answer == NEEDM_ENOTSTARTED;
    if (stopped)
        start((needm_config){.size = 0});
    else
        CHECK_EQ(answer, 0);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    if (!emulated()) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        join(thread(calls_once, &sum));
    }
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(stats().ms_total, 0);
    struct sigaction action;
    CHECK_EQ(sigaction(SIGSEGV, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
    start((needm_config){.size = 0});
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    _exit(SUCCESS - stopped);
}
static void children_may_start_and_stop_too(uint32_t binding) {
    needm_config config = {.binding = binding};
    needm_panic_info info = {sizeof info};
    over = 0, found_stopped = 0;
    pthread_t other = thread(starts_and_stops, &config);
    int children = rounds(2000);
    for (int i = 0; i < children; i++) {
        long sum = 0;
        int answer = needm_callback(add, &sum, 0, &info);
        CHECK(answer == 0 || answer == NEEDM_ENOTSTARTED);
        int status = in_a_child(is_started_or_stopped);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == SUCCESS || WEXITSTATUS(status) == SUCCESS - 1);
        found_stopped += WEXITSTATUS(status) == SUCCESS - 1;
    }
    over = 1;
    join(other);
    fprintf(stderr, "%d children, %d of them found it stopped\n", children, found_stopped);
}
static void children_may_start_and_stop_with_bound_ms(void) { children_may_start_and_stop_too(NEEDM_BIND_THREAD); }
static void children_may_start_and_stop_with_an_m_per_call(void) { children_may_start_and_stop_too(NEEDM_BIND_CALL); }

static void with_bound_ms(void) { callbacks_survive_stops_and_starts(NEEDM_BIND_THREAD); }
static void with_an_m_per_call(void) { callbacks_survive_stops_and_starts(NEEDM_BIND_CALL); }

int main(void) {
    RUN(with_bound_ms);
    RUN(with_an_m_per_call);
    RUN(children_may_start_and_stop_with_bound_ms);
    RUN(children_may_start_and_stop_with_an_m_per_call);
    return SUCCESS;
}
