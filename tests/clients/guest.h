/* What guest.c offers to programs in other languages: 0 if all is well. */
int guest_start(void);
int guest_mix(int round);
int guest_finish(void);
/* Calls out of a callback: `fn` runs on the thread's own stack, or, if `on_g`, on the callback's. */
int guest_call_out(void (*fn)(void *), void *arg, int on_g);
/* A function for it: sets *flag to 1, and returns when it is 2. */
void guest_wait(void *flag);
