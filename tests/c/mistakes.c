/* Mistakes in callbacks, for tools to find: mistakes NAME. */
#include "check.h"

static void past_an_array(void *index) {
    volatile char array[8];
    array[*(volatile int *)index] = 1;
}
static void after_its_end(void *arg) {
    char *volatile gone = malloc(8);
    free(gone);
    *(volatile char *)arg = *(volatile char *)gone;
}
static void too_large(void *sum) { ++*(volatile int *)sum; }
static void unset(void *arg) {
    int *volatile box = malloc(sizeof(int));
    if (*(volatile int *)box == 3) ++*(volatile int *)arg;
    free(box);
}

/* Nothing orders the two threads' callbacks but time; nor has one the M of the other. */
static int shared;
static void increment(void *arg) {
    (void)arg;
    shared++;
}
static void *incrementer(void *arg) {
    useconds_t late = (useconds_t)(uintptr_t)arg;
    usleep(late);
    CHECK_EQ(needm_callback(increment, NULL, 0, NULL), 0);
    usleep(400000 - late);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    const char *name = argv[1];
    int index = 8, sum = INT32_MAX, zero = 0;
    start((needm_config){.seed_ms = 2});
    if (strcmp(name, "stack") == 0) needm_callback(past_an_array, &index, 0, NULL);
    if (strcmp(name, "heap") == 0) needm_callback(after_its_end, &zero, 0, NULL);
    if (strcmp(name, "unset") == 0) needm_callback(unset, &zero, 0, NULL);
    if (strcmp(name, "overflow") == 0) {
        needm_callback(too_large, &sum, 0, NULL);
        return 1; /* the tool says it, and goes on */
    }
    if (strcmp(name, "race") == 0) {
        pthread_t a = thread(incrementer, NULL), b = thread(incrementer, (void *)200000);
        join(a);
        join(b);
    }
    return SUCCESS;
}
