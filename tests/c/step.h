/* A handler between any two instructions: single step sends SIGTRAP after each. Only for processors
 * that have it (HAS_SINGLE_STEP). */
#ifndef STEP_H
#define STEP_H
#include "check.h"
#include <ucontext.h>

void steps_on(void);
void steps_off(void);
__asm__(STEP_FUNCTIONS);

static volatile long countdown; /* instructions until `at_instruction` runs */
static void (*at_instruction)(void);
static volatile int reached; /* it runs, or has run */
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    (void)signal, (void)info;
    if (countdown-- > 0) return;
    reached = 1;
    STOP_STEPPING(interrupted);
    at_instruction();
}
static int flags_of_handler;
static void handle_steps(void) {
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | flags_of_handler};
    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}
#endif
