/* Never comes to an end. */
#include "../plugin.h"

/* It counts, so that the loop does not begin with the function: the address before the instruction
 * that runs is looked up, as in each frame. */
NOINLINE int wait_for(volatile int *flag) {
    unsigned rounds = 1;
    while (!*flag) rounds++;
    return (int)rounds;
}

int plugin_run(int input) {
    static volatile int ready;
    return wait_for(&ready) + input;
}
