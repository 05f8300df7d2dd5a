/* needm.dll is loaded by a program that has threads already, and unloaded again. It is linked
 * to neither library. */
#include "../c/check.h"

#define EACH(what) what(needm_start) what(needm_stop) what(needm_callback) what(needm_get_stats)
#define DECLARE(name) static __typeof__(name) *name##_there;
EACH(DECLARE)
static volatile int turn, done;
static HMODULE library;
static void load(void) {
    library = LoadLibraryA("needm.dll");
    CHECK(library);
#define FIND(name) CHECK((name##_there = (void *)GetProcAddress(library, #name)));
    EACH(FIND)
}
/* Older than the DLL. */
static void *calls_back_in_each_turn(void *arg) {
    for (int seen = 0; seen < rounds(200); seen++) {
        WAIT_UNTIL(turn > seen);
        long sum = 0;
        CHECK_EQ(needm_callback_there(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback_there(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback_there(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(sum, 1);
        done = turn;
    }
    return arg;
}
static void *calls_back(void *arg) {
    long sum = 0;
    CHECK_EQ(needm_callback_there(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    return arg;
}

int main(void) {
    pthread_t older = thread(calls_back_in_each_turn, NULL);
    for (int round = 0; round < rounds(200); round++) {
        load();
        CHECK_EQ(needm_start_there(NULL), 0);
        turn++;
        join(thread(calls_back, NULL));
        calls_back(NULL);
        WAIT_UNTIL(done == turn);
        int answer;
        WAIT_UNTIL((answer = needm_stop_there()) != NEEDM_EBUSY);
        CHECK_EQ(answer, 0);
        CHECK(FreeLibrary(library));
        CHECK(!GetModuleHandleA("needm.dll"));
    }
    join(older);
    return SUCCESS;
}
