/* Guile, with its code called on threads that it does not know: in a callback (scm_with_guile), from
 * there out to C on the thread's own stack (scm_without_guile), from where C calls back again. Each
 * thread keeps lists in frames on each of its stacks while all of them collect. Guile's own
 * errors and continuations stay inside a callback; a crash of C that Scheme has called ends the
 * callback inside. The page "collector" of the guide explains it. */
#include "../c/check.h"
#include <libguile.h>

enum { THREADS = 4, LENGTH = 50 };

/* On the thread's own stack: Guile takes the thread for one that is outside Scheme, as it does one that
 * waits. So the change of stacks may happen at any time. */
struct call {
    void *(*fn)(void *arg);
    void *arg, *answer;
    needm_panic_info *info;
    int ended, result;
};
static void body(void *arg) {
    struct call *call = arg;
    call->answer = call->fn(call->arg);
}
/* Continuations that Scheme makes here are of this callback: they copy its stack, and no other. */
static void *with_barrier(void *arg) {
    struct call *call = arg;
    call->result = needm_callback(body, call, 0, call->info);
    return NULL;
}
static void *in_guile(void *arg) { return scm_c_with_continuation_barrier(with_barrier, arg); }
static void on_the_g(void *arg) { scm_with_guile(in_guile, arg); }
static void *enter(void *arg) {
    struct call *call = arg;
    call->ended = needm_callback(on_the_g, call, 0, NULL);
    return NULL;
}
static void *outside(void *arg) { return scm_without_guile(enter, arg); }
static void *guile_callback(void *(*fn)(void *), void *arg, int *ended) {
    struct call call = {.fn = fn, .arg = arg};
    /* In Guile and out again: it notes the registers and the frames of the caller. */
    scm_with_guile(outside, &call);
    *ended = call.ended != 0 ? call.ended : call.result;
    return call.answer;
}
static void call_c(void *arg) {
    struct call *call = arg;
    call->answer = call->fn(call->arg);
}
static void *leave(void *arg) {
    struct call *call = arg;
    call->ended = needm_ccall(call_c, call);
    return NULL;
}
static void *guile_ccall(void *(*fn)(void *), void *arg) {
    struct call call = {.fn = fn, .arg = arg};
    scm_without_guile(leave, &call);
    CHECK_EQ(call.ended, 0);
    return call.answer;
}

static SCM numbers(int from) { /* a list that only the caller refers to */
    SCM list = SCM_EOL;
    for (int i = 0; i < LENGTH; i++) list = scm_cons(scm_from_utf8_string("abc"), scm_cons(scm_from_int(from + i), list));
    return list;
}
static void verify(SCM list, int from) {
    for (int i = LENGTH; i-- > 0; list = scm_cddr(list)) {
        CHECK(scm_is_string(scm_car(list)) && scm_c_string_length(scm_car(list)) == 3);
        CHECK_EQ(scm_to_int(scm_cadr(list)), from + i);
    }
    CHECK(scm_is_null(list));
}
static void collect(void) {
    scm_gc();
    for (int i = 0; i < 10; i++) numbers(-1000);
}

/* A callback inside one, made by C that Scheme has called. */
static void *innermost(void *arg) {
    volatile SCM list = numbers(3000);
    collect();
    verify(list, 3000);
    return arg;
}
static void *in_c(void *arg) {
    int ended;
    CHECK(guile_callback(innermost, arg, &ended) == arg);
    CHECK_EQ(ended, 0);
    return arg;
}
static void crash(void *arg) { *(volatile int *)arg = 1; }

/* What Scheme calls. */
static SCM call_out(SCM number) {
    volatile SCM list = numbers(2000);
    CHECK(guile_ccall(in_c, &number) == &number);
    verify(list, 2000);
    return scm_sum(number, scm_from_int(1));
}
/* It may crash: Guile's collector must not send the thread a signal while the handler of the fault
 * runs, on the signal stack. */
static void *unseen(void *arg) {
    *(int *)arg = needm_callback(crash, NULL, 0, NULL);
    return NULL;
}
static SCM plugin(void) {
    int ended;
    scm_without_guile(unseen, &ended);
    return scm_from_utf8_string(needm_error_name(ended));
}
static void *callback(void *arg) {
    volatile SCM list = numbers(1000);
    SCM answer = scm_call_1(scm_variable_ref(scm_c_lookup("work")), scm_from_int(*(int *)arg));
    collect();
    verify(list, 1000);
    return (void *)(intptr_t)scm_to_int(answer);
}

static void *foreign(void *arg) {
    for (int i = 0; i < rounds(40); i++) {
        int ended;
        CHECK_EQ((intptr_t)guile_callback(callback, &i, &ended), 3 * i + 11);
        CHECK_EQ(ended, 0);
    }
    return arg;
}

/* call-out: a ccall. call/cc and catch: jumps within the callback. */
static const char script[] =
    "(define (work n)"
    "  (let* ((kept (map (lambda (i) (list i (number->string i))) (iota 30)))"
    "         (one (call-out n))"
    "         (two (call/cc (lambda (k) (for-each (lambda (i) (if (= i 5) (k (+ one i)))) (iota 10)) 0)))"
    "         (three (catch #t (lambda () (call-out 0) (error \"none\" n)) (lambda (key . rest) 5))))"
    "    (if (not (string=? (plugin) \"NEEDM_EFAULT\")) (error \"no crash\"))"
    "    (for-each (lambda (pair) (if (not (equal? (number->string (car pair)) (cadr pair))) (error \"lost\"))) kept)"
    "    (+ n n two three)))";

static void *set_up(void *arg) {
    scm_c_define_gsubr("call-out", 1, 0, 0, (scm_t_subr)call_out);
    scm_c_define_gsubr("plugin", 0, 0, 0, (scm_t_subr)plugin);
    /* Guile's own check takes the distance from the thread's stack for its depth. A callback has a
     * guard instead. */
    scm_c_eval_string("(debug-set! stack 0)");
    scm_c_eval_string(script);
    return arg;
}

int main(void) {
    scm_with_guile(set_up, NULL);
    /* Guile's compiler, which a first call may run, is deep. */
    start((needm_config){.stack_size = 1024 * 1024});
    pthread_t made[THREADS];
    for (int i = 0; i < THREADS; i++) made[i] = thread(foreign, NULL);
    for (int i = 0; i < THREADS; i++) join(made[i]);
    CHECK_EQ((long)stats().faults, THREADS * rounds(40));
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
