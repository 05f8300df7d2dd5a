/* Hooks are the host's code, and run when callback code may run: not in a world that another thread
 * has stopped. */
#include "filter.h"

#define SECOND 1000000000LL
static uint32_t binding;

static volatile long in_hooks, hooks_run;
static void runs_for_a_while(void) {
    __atomic_add_fetch(&in_hooks, 1, __ATOMIC_SEQ_CST);
    for (volatile int i = 0; i < 200; i++) continue;
    __atomic_add_fetch(&hooks_run, 1, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&in_hooks, 1, __ATOMIC_SEQ_CST);
}
static int m_new(void *user, needm_m *m) {
    (void)user, (void)m;
    runs_for_a_while();
    return 0;
}
static void of_a_thread(void *user, needm_m *m) {
    (void)user, (void)m;
    runs_for_a_while();
}
static volatile int ends;
static void *comes_and_goes(void *arg) {
    for (int i = 0; i < 10 && !ends; i++) {
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0); /* its exit calls a hook */
    return arg;
}
static void *makes_threads(void *arg) {
    while (!ends) join(thread(comes_and_goes, NULL));
    return arg;
}
static void hooks_do_not_run_in_a_stopped_world(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new, .minit = of_a_thread, .unminit = of_a_thread};
    start((needm_config){.binding = binding, .hooks = &hooks});
    ends = 0;
    pthread_t makers[3];
    for (int i = 0; i < 3; i++) makers[i] = thread(makes_threads, NULL);
    long stops_with_hooks_between = 0, last = 0;
    for (int round = 0; stops_with_hooks_between < rounds(300); round++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        long before = hooks_run;
        CHECK_EQ(in_hooks, 0);
        for (int i = 0; i < 200; i++) CHECK_EQ(in_hooks, 0);
        if (round % 50 == 0) usleep(1000);
        CHECK_EQ(hooks_run, before);
        CHECK_EQ(needm_start_the_world(), 0);
        stops_with_hooks_between += before != last;
        last = before;
    }
    ends = 1;
    for (int i = 0; i < 3; i++) join(makers[i]);
    stop_when_idle();
}

/* A hook that is under way is waited for, with a limit if there is one. */
static volatile int in_minit, go_on, called_back, stopped;
static void waits_in_minit(void *user, needm_m *m) {
    (void)m;
    if (!pthread_equal(pthread_self(), *(pthread_t *)user) || in_minit) return;
    in_minit = 1;
    WAIT_UNTIL(go_on);
    in_minit = 0;
}
static pthread_t slow;
static void *is_slow_in_minit(void *arg) {
    slow = pthread_self();
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    return arg;
}
static void *stops_the_world(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK(!in_minit || called_back == 1);
    stopped = 1;
    WAIT_UNTIL(go_on || called_back);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void a_hook_under_way_is_waited_for(void) {
    needm_hooks hooks = {.size = sizeof hooks, .user = &slow, .minit = waits_in_minit};
    start((needm_config){.binding = binding, .hooks = &hooks});
    go_on = stopped = called_back = 0;
    pthread_t made = thread(is_slow_in_minit, NULL);
    WAIT_UNTIL(in_minit);
    CHECK_EQ(needm_stop_the_world_within(SECOND / 100), NEEDM_ETIMEDOUT);
    CHECK_EQ(needm_stop_within(SECOND / 100), NEEDM_EBUSY);
    pthread_t stopper = thread(stops_the_world, NULL);
    usleep(10000);
    CHECK_EQ(stopped, 0);
    go_on = 1;
    join(stopper);
    join(made);
    stop_when_idle();
}

/* A handler that has interrupted a hook waits for a stopped world, and the stopper does not wait for
 * that hook. */
static void calls_back(int signal) {
    (void)signal;
    called_back = 1; /* about to be, and waits there */
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    called_back = 2;
}
static void stops_the_world_in_a_handler(int signal) {
    (void)signal;
    called_back = 1;
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    called_back = 2;
}
static void the_handler_of_an_interrupted_hook(void (*does)(int)) {
    if (handlers_lose_their_thread()) return;
    needm_hooks hooks = {.size = sizeof hooks, .user = &slow, .minit = waits_in_minit};
    start((needm_config){.binding = binding, .hooks = &hooks, .seed_ms = 3});
    handle(SIGUSR1, does);
    go_on = stopped = called_back = 0;
    pthread_t made = thread(is_slow_in_minit, NULL);
    WAIT_UNTIL(in_minit);
    pthread_t stopper = thread(stops_the_world, NULL);
    usleep(1000); /* the stopper waits for the hook by then, or finds the handler */
    CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
    WAIT_UNTIL(called_back == 2);
    CHECK_EQ(needm_stop_the_world_within(SECOND / 100), NEEDM_ETIMEDOUT); /* the hook goes on */
    go_on = 1;
    join(stopper);
    join(made);
    stop_when_idle();
}
static void the_handler_of_an_interrupted_hook_waits(void) {
    the_handler_of_an_interrupted_hook(calls_back);
    the_handler_of_an_interrupted_hook(stops_the_world_in_a_handler);
}

/* A callback that makes a spare runs hooks for threads that have exited, and whatever waits for
 * it goes on. */
static volatile int dead, outs, spare_maker_is_bound, world_is_wanted;
static pthread_t spare_maker;
static void waits_for_the_dead(void *user, needm_m *m) {
    (void)user, (void)m;
    if (!pthread_equal(pthread_self(), spare_maker)) return;
    spare_maker_is_bound = 1;
    WAIT_UNTIL(dead == 2);
}
static void waits_for_a_stopper(void *user, needm_m *m) {
    (void)user, (void)m;
    if (++outs != 1) return;
    WAIT_UNTIL(world_is_wanted);
    usleep(10000); /* most often the gate is closed by then */
}
static void exits(void *arg) {
    in_minit++;
    WAIT_UNTIL(spare_maker_is_bound);
    syscall(SYS_exit, 0);
    (void)arg;
}
static void *exits_in_a_callback(void *arg) {
    CHECK_EQ(needm_callback(exits, NULL, 0, NULL), 0);
    return arg;
}
static void *makes_a_spare(void *arg) {
    spare_maker = pthread_self();
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    return arg;
}
static void *stops_meanwhile(void *arg) {
    WAIT_UNTIL(outs);
    world_is_wanted = 1;
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void hooks_on_a_g_do_not_wait(void) {
    if (emulated()) return; /* such exits are noticed late */
    needm_hooks hooks = {.size = sizeof hooks, .minit = waits_for_the_dead, .unminit = waits_for_a_stopper};
    start((needm_config){.binding = binding, .hooks = &hooks, .seed_ms = 3});
    in_minit = dead = outs = spare_maker_is_bound = world_is_wanted = 0;
    pthread_t dying[2], stopper = thread(stops_meanwhile, NULL);
    for (int i = 0; i < 2; i++) {
        dying[i] = thread(exits_in_a_callback, NULL);
        WAIT_UNTIL(in_minit == i + 1);
    }
    pthread_t maker = thread(makes_a_spare, NULL);
    for (int i = 0; i < 2; i++) join(dying[i]);
    dead = 2;
    join(maker);
    join(stopper);
    stop_when_idle();
}

static int makes_an_m(void *user, needm_m *m) {
    (void)m;
    ++*(volatile int *)user;
    return 0;
}
static void *attaches(void *attached) {
    CHECK_EQ(needm_attach(), 0);
    *(volatile int *)attached = 1;
    return NULL;
}
static void no_spare_is_made_in_a_stopped_world(void) {
    volatile int made = 0, attached = 0;
    needm_hooks hooks = {.size = sizeof hooks, .user = (void *)&made, .m_new = makes_an_m};
    start((needm_config){.binding = binding, .hooks = &hooks});
    CHECK_EQ(made, 1);
    CHECK_EQ(needm_stop_the_world(), 0);
    pthread_t waiter = thread(attaches, (void *)&attached);
    usleep(10000);
    CHECK_EQ(made, 1);
    CHECK_EQ(attached, 0);
    CHECK_EQ(needm_start_the_world(), 0);
    join(waiter);
    CHECK_EQ(made, 2);
    stop_when_idle();
}

/* A thread that exits in a hook is not waited for. */
static void exits_in_minit(void *user, needm_m *m) {
    (void)m;
    if (!pthread_equal(pthread_self(), *(pthread_t *)user)) return;
    in_minit = 1;
    syscall(SYS_exit, 0);
}
static void a_thread_that_exits_in_a_hook_is_not_waited_for(void) {
    if (emulated()) return; /* such an exit is noticed late */
    needm_hooks hooks = {.size = sizeof hooks, .user = &slow, .minit = exits_in_minit};
    start((needm_config){.binding = binding, .hooks = &hooks});
    CHECK_EQ(needm_attach(), 0);
    in_minit = 0;
    pthread_t made = thread(is_slow_in_minit, NULL);
    WAIT_UNTIL(in_minit);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    join(made);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
}

/* The owner's own hooks run, and a hook may stop the world. */
static void stops_in_minit(void *user, needm_m *m) {
    (void)user, (void)m;
    CHECK_EQ(needm_stop_the_world(), 0);
    long before = hooks_run;
    for (int i = 0; i < 100; i++) CHECK_EQ(hooks_run, before);
    hooks_run = before + 1;
    CHECK_EQ(needm_start_the_world(), 0);
}
static void a_hook_may_stop_the_world(void) {
    needm_hooks hooks = {.size = sizeof hooks, .minit = stops_in_minit, .unminit = of_a_thread};
    start((needm_config){.binding = binding, .hooks = &hooks});
    ends = 0;
    pthread_t makers[3];
    for (int i = 0; i < 3; i++) makers[i] = thread(makes_threads, NULL);
    long before = hooks_run;
    WAIT_UNTIL(hooks_run > before + rounds(1000));
    ends = 1;
    for (int i = 0; i < 3; i++) join(makers[i]);
    hooks.minit = of_a_thread;
    stop_when_idle();
    start((needm_config){.binding = binding, .hooks = &hooks});
    CHECK_EQ(needm_stop_the_world(), 0);
    before = hooks_run;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(hooks_run, before + 2);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* A thread that exits with the world stopped starts it, also for those that wait before a hook. */
static void *exits_with_the_world_stopped(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    stopped = 1;
    WAIT_UNTIL(go_on);
    syscall(SYS_exit, 0);
    return arg;
}
static void an_owner_that_exits_is_noticed_before_a_hook(void) {
    if (emulated()) return;
    needm_hooks hooks = {.size = sizeof hooks, .minit = of_a_thread};
    start((needm_config){.binding = binding, .hooks = &hooks});
    go_on = stopped = 0;
    volatile int attached = 0;
    pthread_t owner = thread(exits_with_the_world_stopped, NULL);
    WAIT_UNTIL(stopped);
    pthread_t waiter = thread(attaches, (void *)&attached);
    usleep(10000);
    CHECK_EQ(attached, 0);
    go_on = 1;
    join(waiter);
    join(owner);
    stop_when_idle();
}

/* A thread that is made in a callback calls a hook before the callback goes on. */
static void sets(void *flag) { *(volatile int *)flag = 1; }
static void spawns_a_thread(void *arg) {
    volatile int ran = 0;
    CHECK_EQ(needm_spawn(sets, (void *)&ran), 0);
    while (!ran) needm_safepoint();
    (void)arg;
}
static void *stops_again_and_again(void *arg) {
    while (!ends) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    return arg;
}
static void a_stop_and_a_callback_that_spawns_do_not_wait_for_each_other(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new, .minit = of_a_thread, .unminit = of_a_thread};
    start((needm_config){.binding = binding, .hooks = &hooks});
    ends = 0;
    pthread_t stoppers[2];
    for (int i = 0; i < 2; i++) stoppers[i] = thread(stops_again_and_again, NULL);
    for (int i = 0; i < rounds(300); i++) CHECK_EQ(needm_callback(spawns_a_thread, NULL, 0, NULL), 0);
    ends = 1;
    for (int i = 0; i < 2; i++) join(stoppers[i]);
    /* The thread for which the hooks would wait. */
    volatile int ran = 0;
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_spawn(sets, (void *)&ran), NEEDM_EBUSY);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_spawn(sets, (void *)&ran), 0);
    WAIT_UNTIL(ran);
    stop_when_idle();
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(hooks_do_not_run_in_a_stopped_world);
    RUN(a_hook_under_way_is_waited_for);
    RUN(a_stop_and_a_callback_that_spawns_do_not_wait_for_each_other);
    RUN(the_handler_of_an_interrupted_hook_waits);
    RUN(a_thread_that_exits_in_a_hook_is_not_waited_for);
    RUN(hooks_on_a_g_do_not_wait);
    RUN(no_spare_is_made_in_a_stopped_world);
    RUN(a_hook_may_stop_the_world);
    RUN(an_owner_that_exits_is_noticed_before_a_hook);
    return SUCCESS;
}
