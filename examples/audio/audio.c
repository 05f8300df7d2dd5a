/* A real-time thread, as an audio driver has one: once a period it calls the host for a block of
 * samples, and the host calls a plug-in in a callback. The program prints how long the calls took,
 * directly and by needm, and the worst of all.
 *
 * audio [PERIODS] [MICROSECONDS]: so many periods (a million), with so long a pause before each
 * (none). In one of them the plug-in crashes. */
#define _GNU_SOURCE
#include <errno.h>
#include <needm.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum { SAMPLES = 64, RATE = 48000, STACK = 64 * 1024 };

/* The plug-in: a saw tooth through a low-pass filter. Its state is the host's. */
struct block {
    float phase, low, samples[SAMPLES];
    int crashes; /* in this period it has a mistake */
};
static void plugin_process(struct block *block) {
    for (int i = 0; i < SAMPLES; i++) {
        block->phase += 440.0f / RATE;
        if (block->phase >= 1) block->phase -= 2;
        block->low += 0.1f * (block->phase - block->low);
        block->samples[i] = block->low;
    }
    if (block->crashes) __builtin_trap();
}
static void process(void *block) { plugin_process(block); }
static void crash(void *arg) {
    (void)arg;
    __builtin_trap();
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}
static long page_faults(void) {
    struct rusage used;
    getrusage(RUSAGE_THREAD, &used);
    return used.ru_minflt + used.ru_majflt;
}

struct run {
    int by_needm;
    long periods, pause; /* microseconds */
    uint32_t *times;     /* nanoseconds of each period */
    long faults;         /* page faults in all periods */
    int is_real_time, crashes, prepared;
};

/* The driver's thread. */
static void *driver(void *arg) {
    struct run *run = arg;
    static struct block block;
    struct sched_param priority = {.sched_priority = 70};
    run->is_real_time = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    /* Before the first period: an M, the part of its stack that the plug-in uses, and a recovered
     * fault, which touches the signal stack. */
    if (run->by_needm && (needm_attach() != 0 || needm_prefault(STACK) != 0 ||
            needm_callback(crash, NULL, 0, NULL) != NEEDM_EFAULT)) return NULL;
    run->prepared = 1;
    plugin_process(&block);
    nanoseconds();
    long faults = page_faults();
    for (long i = 0; i < run->periods; i++) {
        if (run->pause > 0) {
            struct timespec pause = {run->pause / 1000000, run->pause % 1000000 * 1000};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        }
        int64_t start = nanoseconds();
        if (!run->by_needm) {
            plugin_process(&block);
        } else {
            block.crashes = i == run->periods / 2;
            if (needm_callback(process, &block, 0, NULL) != 0) {
                memset(block.samples, 0, sizeof block.samples); /* silence */
                run->crashes++;
            }
        }
        run->times[i] = (uint32_t)(nanoseconds() - start);
    }
    run->faults = page_faults() - faults;
    if (run->by_needm) needm_detach();
    return NULL;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int measure(const char *name, struct run *run) {
    pthread_t thread;
    fprintf(stderr, "audio: %s, %ld periods\n", name, run->periods);
    int refused = pthread_create(&thread, NULL, driver, run);
    if (refused) return fprintf(stderr, "audio: no thread: %s\n", strerror(refused)), -1;
    pthread_join(thread, NULL);
    if (!run->prepared) return fprintf(stderr, "audio: the thread has no M\n"), -1;
    qsort(run->times, (size_t)run->periods, sizeof *run->times, ascending);
    printf("%-16s %8u %8u %8u %12ld\n", name, run->times[run->periods / 2],
        run->times[run->periods - 1 - run->periods / 1000], run->times[run->periods - 1], run->faults);
    return 0;
}

int main(int argc, char **argv) {
    long periods = argc > 1 ? atol(argv[1]) : 1000000, pause = argc > 2 ? atol(argv[2]) : 0;
    if (periods < 10 || pause < 0) return fprintf(stderr, "usage: audio [PERIODS] [MICROSECONDS]\n"), 2;
    uint32_t *times = calloc((size_t)periods, sizeof *times);
    if (times == NULL) return 1;
    memset(times, 1, (size_t)periods * sizeof *times); /* its pages are there before the periods */
    int locked = mlockall(MCL_CURRENT) == 0;
    needm_config config = NEEDM_CONFIG_INIT;
    config.seed_ms = 2; /* the driver's, and a spare */
    if (needm_start(&config) != 0) return 1;

    struct run direct = {.periods = periods, .pause = pause, .times = times};
    struct run needm = {.by_needm = 1, .periods = periods, .pause = pause, .times = times};
    printf("nanoseconds        median   99.9 %%    worst  page faults\n");
    if (measure("called directly", &direct) != 0 || measure("by needm", &needm) != 0) return 1;
    printf("%d samples at %d Hz: a period of %d us; the plug-in crashed in %d period%s\n", SAMPLES, RATE,
        SAMPLES * 1000000 / RATE, needm.crashes, needm.crashes == 1 ? "" : "s");
    if (!needm.is_real_time) printf("not a real-time thread: that takes CAP_SYS_NICE or an rtprio limit\n");
    if (!locked) printf("memory is not locked: that takes CAP_IPC_LOCK or a memlock limit\n");
    free(times);
    return needm.crashes == 1 && needm_stop() == 0 ? 0 : 1;
}
