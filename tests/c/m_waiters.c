/* A handler waits for an M over a running callback, while the thread that holds the other M waits for the world. */
#include "filter.h"

static volatile int handled;
static void call_back(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    handled = 1;
}
static volatile int holds, lets_go;
static void in_c(void *arg) {
    holds = 1;
    WAIT_UNTIL(lets_go);
    (void)arg;
}
static void goes_to_c(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }
static void *holds_an_m(void *arg) {
    CHECK_EQ(needm_callback(goes_to_c, arg, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void is_interrupted(void *arg) {
    CHECK_EQ(raise(SIGUSR1), 0);
    (void)arg;
}
static void *waits_in_a_handler(void *arg) {
    CHECK_EQ(needm_callback(is_interrupted, arg, 0, NULL), 0);
    CHECK_EQ(handled, 1);
    return arg;
}
static void a_stop_does_not_wait_for_a_handler_that_waits_for_an_m(uint32_t binding) {
    struct sigaction usr1 = {.sa_handler = call_back, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &usr1, NULL), 0);
    start((needm_config){.binding = binding, .seed_ms = 2, .max_ms = 2});
    uint64_t waits = stats().waits;
    pthread_t holder = thread(holds_an_m, NULL);
    WAIT_UNTIL(holds);
    pthread_t waiter = thread(waits_in_a_handler, NULL);
    WAIT_UNTIL(stats().waits > waits);
    CHECK_EQ(needm_stop_the_world_within(600000000000), 0);
    lets_go = 1;
    /* If it sleeps too short, the test shows less. */
    usleep(emulated() ? 100000 : 20000);
    CHECK_EQ(handled, 0);
    CHECK_EQ(needm_start_the_world(), 0);
    join(holder);
    join(waiter);
    stop_when_idle();
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    if (handlers_lose_their_thread()) return SUCCESS;
    a_stop_does_not_wait_for_a_handler_that_waits_for_an_m(binding);
    return SUCCESS;
}
