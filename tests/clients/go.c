/* A program in C that loads Go as a library (c-shared), with needm before it or after it, and
 * calls it on threads of its own: some call Go first, others back first. Argument: the library. */
#include "guest.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8 };
static int (*mix)(int);
static int count;

static void *body(void *number) {
    int result = 0, back_first = (intptr_t)number % 2;
    for (int i = 0; back_first && i < 100 && !result; i++) result = guest_mix(i);
    if (!result) result = mix(count);
    /* Go before 1.21 leaves a thread without a signal stack that had none: no overflow then, which
     * is due in round 0. */
    for (int i = !back_first; i < 100 && !result; i++) result = guest_mix(i);
    return (void *)(intptr_t)result;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    count = atoi(getenv("ROUNDS"));
    void *library = dlopen(argv[1], RTLD_NOW);
    if (library) *(void **)&mix = dlsym(library, "Mix");
    if (!mix) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    if (mix(0) || guest_start()) return 4;
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, body, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        if (result) {
            fprintf(stderr, "check failed: %d\n", (int)(intptr_t)result);
            return 1;
        }
    }
    guest_finish();
    return 200;
}
