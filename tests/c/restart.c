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
static void with_bound_ms(void) { callbacks_survive_stops_and_starts(NEEDM_BIND_THREAD); }
static void with_an_m_per_call(void) { callbacks_survive_stops_and_starts(NEEDM_BIND_CALL); }

int main(void) {
    RUN(with_bound_ms);
    RUN(with_an_m_per_call);
    return SUCCESS;
}
