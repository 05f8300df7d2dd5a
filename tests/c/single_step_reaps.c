/* A thread dismantles what another one had that has exited by the raw system call, and a handler jumps out of that at any
 * instruction, or its thread exits there, or forks a child that goes on with it. Or it exits by itself, and is ended in the middle of that. Nothing of the dead thread's is lost: its M
 * is bound again, a world that it had stopped is started, and needm can be stopped. */
#include "check.h"
#include <setjmp.h>
#include <sys/syscall.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

enum { MS = 2 };
static needm_config config = {.max_ms = MS, .stack_size = 64 * 1024, .wait_ns = 5000000000};
static void begin(void) {
    start(config);
    handle_steps(); /* on top of needm's, for which SIGTRAP would be a fault */
}
/* After a stop that may not have come to its end. */
static void start_again(void) {
    config.size = sizeof config;
    if (needm_start(&config) == 0) handle_steps();
}
static void hook(void *user, needm_m *m) { (void)user, (void)m; }
static const needm_hooks hooks = {.size = sizeof hooks, .minit = hook, .unminit = hook};

static volatile pid_t exiting;
static void exits(void) {
    exiting = gettid();
    syscall(SYS_exit, 0);
}
static void wait_for_its_end(void) {
    WAIT_UNTIL(exiting != 0 && syscall(SYS_tgkill, getpid(), exiting, 0) != 0);
    exiting = 0;
}

/* How the dead thread has come to its end. */
static void (*dies)(void);
static void with_an_m(void) { CHECK_EQ(needm_attach(), 0); exits(); }
static void exits_inside(void *arg) { (void)arg, exits(); }
static void in_a_callback(void) { needm_callback(exits_inside, NULL, 0, NULL); }
static void stops_and_exits(void *arg) {
    (void)arg;
    CHECK_EQ(needm_stop_the_world(), 0);
    exits();
}
static void in_a_stopped_world(void) { needm_callback(stops_and_exits, NULL, 0, NULL); }
static void *dead(void *arg) { return dies(), arg; }

/* What dismantles it. */
static void (*reaps)(void);
static void attach(void) { needm_attach(); }
static void call(void) { needm_callback(nothing, NULL, 0, NULL); }
static void stop(void) { needm_stop(); }

static sigjmp_buf out;
static void jump_out(void) { siglongjmp(out, 1); }
static ON_ITS_STACK void reap(void) {
    if (sigsetjmp(out, 1) == 0) {
        steps_on();
        reaps();
        steps_off();
    }
}
static void *is_left(void *arg) {
    reap();
    overwrite();
    call();
    return arg;
}
static void *exits_there(void *arg) {
    reap();
    exits();
    return arg;
}

static pid_t child;
static void forks(void) { CHECK((child = fork()) >= 0); }
static pthread_barrier_t all_attached;
static void *takes_one(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    pthread_barrier_wait(&all_attached);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void no_m_is_lost(void) {
    pthread_t threads[MS];
    for (int i = 0; i < MS; i++) threads[i] = thread(takes_one, NULL);
    for (int i = 0; i < MS; i++) join(threads[i]);
}

static void *forks_there(void *arg) {
    child = 1;
    reap();
    if (child == 0) {
        needm_detach();
        no_m_is_lost();
        CHECK_EQ(needm_stop(), 0);
        _exit(SUCCESS);
    }
    return arg;
}

/* Steps are slow on a virtual machine: not each is tried. */
#ifndef STRIDE
#define STRIDE 251
#endif
static void at_every_instruction(void *(*reaper)(void *), void (*end)(void)) {
    static int first;
    at_instruction = end;
    long at = first++ * 7 % STRIDE; /* else the next time at others */
    for (reached = 1; reached; at += STRIDE) {
        thread(dead, NULL);
        wait_for_its_end();
        reached = 0;
        countdown = at;
        pthread_t reaping = thread(reaper, NULL);
        if (end == exits) wait_for_its_end();
        else join(reaping);
        if (end == forks && child > 1) {
            int status;
            CHECK_EQ(waitpid(child, &status, 0), child);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
        }
        if (reaps == stop) start_again();
        no_m_is_lost();
        CHECK_EQ(needm_stop(), 0);
        begin();
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 500);
}
/* The same where the thread exits by itself, and a handler ends it in the destructors of its keys. */
static pthread_key_t before_needms, after_needms;
static void destroyed_before(void *value) { (void)value, steps_on(); }
static void destroyed_after(void *value) { (void)value, steps_off(); }
static void *comes_to_its_end(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(pthread_setspecific(before_needms, arg), 0);
    CHECK_EQ(pthread_setspecific(after_needms, arg), 0);
    return arg;
}
static void exits_lose_nothing(void) {
    at_instruction = exits;
    long at = 0;
    for (reached = 1; reached; at += 5) {
        reached = 0;
        countdown = at;
        join(thread(comes_to_its_end, &at));
        no_m_is_lost();
        CHECK_EQ(needm_stop(), 0);
        begin();
    }
    exiting = 0;
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 500);
}
static void every_way(void (*reap_by)(void)) {
    void (*ways[])(void) = {with_an_m, in_a_callback, in_a_stopped_world};
    reaps = reap_by;
    for (int i = 0; i < 3; i++) {
        dies = ways[i];
        at_every_instruction(is_left, jump_out);
        at_every_instruction(exits_there, exits);
        if (reaps != stop) at_every_instruction(forks_there, forks);
    }
}
static void attaches_lose_nothing(void) { every_way(attach); }
static void first_callbacks_lose_nothing(void) { every_way(call); }
static void stops_lose_nothing(void) { every_way(stop); }

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    (void)argv;
    config.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    config.hooks = &hooks;
    CHECK_EQ(pthread_barrier_init(&all_attached, NULL, MS), 0);
    CHECK_EQ(pthread_key_create(&before_needms, destroyed_before), 0);
    begin();
    CHECK_EQ(pthread_key_create(&after_needms, destroyed_after), 0);
    RUN(exits_lose_nothing);
    RUN(attaches_lose_nothing);
    RUN(first_callbacks_lose_nothing);
    RUN(stops_lose_nothing);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
