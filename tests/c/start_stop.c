/* Stops and starts while threads call in: each callback runs or is refused, and no M is shared
 * or lost. Of several starts at once one succeeds. */
#include "check.h"

enum { THREADS = 4 };
static uint32_t binding;
static volatile int over;
static struct { long ran, refused; } count[THREADS];

static void *calls_until_over(void *arg) {
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

static void every_callback_runs_or_is_refused_during_stops_and_starts(void) {
    pthread_t threads[THREADS];
    int stopped = 0, busy = 0;
    start((needm_config){.binding = binding});
    over = 0;
    memset(count, 0, sizeof count);
    for (long i = 0; i < THREADS; i++) threads[i] = thread(calls_until_over, (void *)i);
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
    fprintf(stderr, "%d stops, %d answers NEEDM_EBUSY; first thread: %ld callbacks ran, %ld were refused\n", stopped, busy,
            count[0].ran, count[0].refused);
}

static pthread_barrier_t turn;
static volatile int succeeded, failed;
static void *starts(void *arg) {
    pthread_barrier_wait(&turn);
    int answer = needm_start(NULL);
    CHECK(answer == 0 || answer == NEEDM_EALREADY);
    __sync_fetch_and_add(answer == 0 ? &succeeded : &failed, 1);
    return arg;
}
static void of_several_starts_at_once_one_succeeds(void) {
    pthread_t threads[4];
    pthread_barrier_init(&turn, NULL, 4);
    for (int round = 0; round < rounds(200); round++) {
        succeeded = failed = 0;
        for (int i = 0; i < 4; i++) threads[i] = thread(starts, NULL);
        for (int i = 0; i < 4; i++) join(threads[i]);
        CHECK_EQ(succeeded, 1);
        CHECK_EQ(failed, 3);
        CHECK_EQ(needm_stop(), 0);
    }
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(every_callback_runs_or_is_refused_during_stops_and_starts);
    RUN(of_several_starts_at_once_one_succeeds);
    return SUCCESS;
}
