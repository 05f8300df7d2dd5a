/* The C side: threads that C makes, and their loop. Of the runtime that it calls into it
 * knows only a function pointer. */
#include <pthread.h>
#include <stdlib.h>

struct job {
    void (*call)(long thread, long round);
    long thread, calls;
};

static void *run(void *arg) {
    const struct job *job = arg;
    for (long round = 0; round < job->calls; round++)
        job->call(job->thread, round);
    return NULL;
}

/* Runs call(thread, round) on `threads` threads at once, `calls` times on each.
 * Returns 0, or an errno value if not all threads could be made. */
int cthread_run(long threads, long calls, void (*call)(long thread, long round)) {
    pthread_t *made = calloc((size_t)threads, sizeof *made);
    struct job *jobs = calloc((size_t)threads, sizeof *jobs);
    int refused = made && jobs ? 0 : 12; /* ENOMEM */
    long count = 0;
    while (refused == 0 && count < threads) {
        jobs[count] = (struct job){call, count, calls};
        refused = pthread_create(&made[count], NULL, run, &jobs[count]);
        count += refused == 0;
    }
    while (count > 0)
        pthread_join(made[--count], NULL);
    free(jobs);
    free(made);
    return refused;
}
