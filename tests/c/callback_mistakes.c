/* Mistakes in callbacks, which sanitizers and valgrind must report: callback_mistakes NAME. */
#include "check.h"

static void past_an_array(void *index) {
    volatile char array[8];
    array[*(volatile int *)index] = 1;
}
static void use_after_free(void *arg) {
    char *volatile gone = malloc(8);
    free(gone);
    *(volatile char *)arg = *(volatile char *)gone;
}
static void signed_overflow(void *sum) { ++*(volatile int *)sum; }
static void never_set(void *arg) {
    int *volatile box = malloc(sizeof(int));
    if (*(volatile int *)box == 3) ++*(volatile int *)arg;
    free(box);
}

/* Relaxed atomics make the second thread wait for the first, and order nothing. The first stays
 * until the second has called back, so that they share no M. */
static int shared, called[2];
static void increment(void *arg) {
    (void)arg;
    shared++;
}
static void wait_for(int thread) {
    while (!__atomic_load_n(&called[thread], __ATOMIC_RELAXED)) usleep(1000);
}
static void *increments(void *second) {
    if (second) wait_for(0);
    CHECK_EQ(needm_callback(increment, NULL, 0, NULL), 0);
    __atomic_store_n(&called[second != NULL], 1, __ATOMIC_RELAXED);
    wait_for(1);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    const char *name = argv[1];
    int index = 8, sum = INT32_MAX, zero = 0;
    start((needm_config){.seed_ms = 2});
    if (strcmp(name, "past_an_array") == 0) needm_callback(past_an_array, &index, 0, NULL);
    if (strcmp(name, "use_after_free") == 0) needm_callback(use_after_free, &zero, 0, NULL);
    if (strcmp(name, "never_set") == 0) needm_callback(never_set, &zero, 0, NULL);
    if (strcmp(name, "signed_overflow") == 0) {
        needm_callback(signed_overflow, &sum, 0, NULL);
        return 1; /* the tool reports it and lets the program go on */
    }
    if (strcmp(name, "race") == 0) {
        pthread_t a = thread(increments, NULL), b = thread(increments, &shared);
        join(a);
        join(b);
    }
    return SUCCESS;
}
