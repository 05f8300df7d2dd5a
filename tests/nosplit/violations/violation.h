/* Each file here breaks one rule on purpose, in what `root` reaches, for
   tests/nosplit to find. */
#define PLAIN __attribute__((noinline, visibility("hidden")))
void root(void *arg);
PLAIN void use(volatile char *bytes, long count);
