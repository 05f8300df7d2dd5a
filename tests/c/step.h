/* A handler between any two instructions: single step sends SIGTRAP after each. Only for processors
 * that have it (HAS_SINGLE_STEP). */
#ifndef STEP_H
#define STEP_H
#include "check.h"
#include <ucontext.h>

void steps_on(void);
void steps_off(void);
__asm__(STEP_FUNCTIONS);

static volatile long countdown; /* steps until `at_instruction` runs: instructions, and more */
/* The steps that each instruction of needm_entry counts for: a program that looks only every so many
 * steps does not miss one of them. Other code has no symbol for where that is. */
static long steps_in_entry = 1;
extern const char needm_entry[], needm_entry_end[] __attribute__((weak));
static long steps_of(uintptr_t pc) {
    return (uintptr_t)needm_entry <= pc && pc < (uintptr_t)needm_entry_end ? steps_in_entry : 1;
}
static void (*at_instruction)(void);
static volatile int reached; /* it runs, or has run */
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    (void)signal, (void)info;
    long steps = steps_of((uintptr_t)CONTEXT_PC(interrupted));
    countdown -= steps;
    if (countdown >= 0) return;
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
