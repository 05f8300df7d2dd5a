/* A thread asks for an interrupt, and is held up at any instruction, while the callback that it asks for ends and other
 * records take the place of that one's: those of a further stack and of a callback there. Whatever is written late changes
 * none of them. */
#include "check.h"
#include <sys/mman.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

enum { STACK = 256 * 1024, WORDS = 16 };
static char *lo;
static needm_m *asked_of;
/* What the thread whose callbacks are asked for has come to, and whether the other one has come back. */
enum { NOWHERE, INSIDE, OTHERS_ARE_THERE };
static volatile int state, is_asked;

static void is_innermost(void *arg) {
    (void)arg;
    asked_of = needm_self();
    state = INSIDE;
    WAIT_UNTIL(reached || is_asked);
}
static void takes_its_place(void *frame) {
    long *words = frame;
    if (!is_asked) state = OTHERS_ARE_THERE;
    WAIT_UNTIL(is_asked);
    for (int i = 0; i < WORDS; i++) {
        CHECK_EQ(words[i], i);
        words[i] = -i;
    }
}
static void calls(void *arg) {
    long around[4 * WORDS], *frame = around + WORDS;
    needm_stack old;
    (void)arg;
    for (int i = 0; i < 4 * WORDS; i++) around[i] = i - WORDS;
    needm_callback(is_innermost, NULL, 0, NULL);
    CHECK_EQ(needm_enter_stack(lo, lo + STACK, &old), 0);
    int result = needm_callback(takes_its_place, frame, WORDS * sizeof *frame, NULL);
    CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
    CHECK_EQ(needm_leave_stack(&old), 0);
    for (int i = 0; i < 4 * WORDS; i++) {
        int copied_back = result == 0 && i >= WORDS && i < 2 * WORDS;
        CHECK_EQ(around[i], copied_back ? WORDS - i : i - WORDS);
    }
}
static void *calls_back(void *arg) {
    int result = needm_callback(calls, arg, 0, NULL);
    CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
    return arg;
}

static void is_held_up(void) { WAIT_UNTIL(state == OTHERS_ARE_THERE); }
static void a_late_request_changes_no_other_record(void) {
    long at = 0;
    at_instruction = is_held_up;
    for (reached = 1; reached; at++) {
        state = NOWHERE;
        reached = is_asked = 0;
        countdown = at;
        pthread_t calling = thread(calls_back, NULL);
        WAIT_UNTIL(state == INSIDE);
        steps_on();
        int result = needm_interrupt(asked_of, lo);
        steps_off();
        is_asked = 1;
        CHECK(result == 0 || result == NEEDM_EINVAL);
        join(calling);
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 100);
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    (void)argv;
    lo = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(lo != MAP_FAILED);
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    handle_steps();
    RUN(a_late_request_changes_no_other_record);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
