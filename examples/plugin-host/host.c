/* A plug-in host: the threads of a pool call plug-ins, each call as one callback. What a plug-in
 * does wrong ends the call, and the host says what it was and where. The plug-in then gets no
 * further calls: whatever it held is lost, and its data may be damaged.
 *
 * host PLUGIN.so... prints a table with a row for each. */
#define _GNU_SOURCE
#include "plugin.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <needm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, CALLS = 3, FRAMES = 32 };

/* A call that takes longer is ended, in nanoseconds. */
static const int64_t LIMIT = 2000000000;

struct plugin {
    const char *path;
    int (*run)(int input);
    pthread_mutex_t lock; /* of what stands below: threads call the same plug-in at once */
    int calls, failed;
    int ended; /* of the first call that failed; 0: none has */
    needm_panic_info info;
    void *frames[FRAMES];
};

/* One call of a plug-in. It is on the caller's stack, where a plug-in that runs past the end of
 * an array does not reach it. */
struct call {
    struct plugin *plugin;
    int input, output, returned;
    void *frames[FRAMES]; /* innermost first; NULL after the last */
};

static void take_backtrace(void *arg) {
    struct call *call = arg;
    backtrace(call->frames, FRAMES);
}

/* At the end of a call, however it ends, on the plug-in's stack. After a crash the frames of the
 * plug-in are still there, so the backtrace shows the place. It is a callback of its own, because
 * the unwinder faults, too, where the plug-in has destroyed its frames. Neither allocates nor
 * takes a lock, which the plug-in may have held when it crashed; names are looked up later. */
static void note_where(void *arg) {
    struct call *call = arg;
    if (call->returned) return;
    /* After an overflow no callback fits on the stack: this function itself runs on a reserve. */
    if (needm_callback(take_backtrace, call, 0, NULL) == NEEDM_EOVERFLOW) take_backtrace(call);
}

static void call_plugin(void *arg) {
    struct call *call = arg;
    needm_defer defer;
    needm_defer_push(&defer, note_where, call);
    call->output = call->plugin->run(call->input);
    call->returned = 1;
}

static void make_call(struct plugin *plugin, int input) {
    struct call call = {.plugin = plugin, .input = input};
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    int ended = needm_callback(call_plugin, &call, 0, &info);
    pthread_mutex_lock(&plugin->lock);
    plugin->calls++;
    if (ended != 0 && plugin->failed++ == 0) {
        plugin->ended = ended;
        plugin->info = info;
        memcpy(plugin->frames, call.frames, sizeof call.frames);
    }
    pthread_mutex_unlock(&plugin->lock);
}

/* A thread of the pool, as the watchdog sees it. The lock is never held inside a callback, where
 * an interrupt could skip its release. */
struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    const needm_m *m;
    int64_t since; /* of the call that it makes now; 0: none */
};
static struct worker workers[THREADS];

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
static void set_since(struct worker *worker, int64_t since) {
    pthread_mutex_lock(&worker->lock);
    worker->since = since;
    pthread_mutex_unlock(&worker->lock);
}

/* Ends calls that take too long. While it has the lock, the call is the one that it looked at. */
static atomic_int all_done;
static void *watchdog(void *arg) {
    while (!atomic_load(&all_done)) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        for (int i = 0; i < THREADS; i++) {
            pthread_mutex_lock(&workers[i].lock);
            if (workers[i].since != 0 && now() - workers[i].since > LIMIT)
                needm_interrupt(workers[i].m, NULL);
            pthread_mutex_unlock(&workers[i].lock);
        }
    }
    return arg;
}

/* The pool: each thread takes the next job until none is left. */
static struct plugin *plugins;
static int jobs;
static atomic_int next_job;
static void *work(void *arg) {
    struct worker *worker = arg;
    int job;
    if (needm_attach() != 0) return NULL;
    worker->m = needm_self(); /* it stays this thread's */
    while ((job = atomic_fetch_add(&next_job, 1)) < jobs) {
        struct plugin *plugin = &plugins[job / CALLS];
        pthread_mutex_lock(&plugin->lock);
        int refused = plugin->failed > 0;
        pthread_mutex_unlock(&plugin->lock);
        if (refused) continue;
        set_since(worker, now());
        make_call(plugin, job);
        set_since(worker, 0);
    }
    return arg;
}

static const char *signal_name(int signal) {
    switch (signal) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGILL: return "SIGILL";
    case SIGTRAP: return "SIGTRAP";
    case SIGABRT: return "SIGABRT";
    default: return "-";
    }
}

/* The file's name, without folder and ending. */
static void print_name(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    printf("%-14.*s", (int)strcspn(name, "."), name);
}

/* The frames that are the plug-in's own, innermost first. */
static void print_backtrace(const struct plugin *plugin) {
    int printed = 0;
    for (int i = 0; i < FRAMES && plugin->frames[i] && printed < 3; i++) {
        Dl_info info;
        /* A frame returns to the instruction after its call, which is another function's if the call
         * never returns. The instruction that faulted is told as it is. */
        char *at = plugin->frames[i];
        if ((uintptr_t)at != plugin->info.pc) at--;
        if (!dladdr(at, &info) || strcmp(info.dli_fname, plugin->path) != 0) continue;
        printf("%s%s", printed++ ? " < " : "", info.dli_sname ? info.dli_sname : "?");
    }
    printf("%s\n", printed ? "" : "-");
}

static int load(struct plugin *plugin, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    plugin->path = path;
    plugin->run = library ? (int (*)(int))dlsym(library, "plugin_run") : NULL;
    if (plugin->run == NULL) fprintf(stderr, "host: %s\n", dlerror());
    return plugin->run ? pthread_mutex_init(&plugin->lock, NULL) : -1;
}

int main(int argc, char **argv) {
    int count = argc - 1;
    plugins = calloc((size_t)count + 1, sizeof *plugins);
    if (plugins == NULL || count == 0) return fprintf(stderr, "usage: host PLUGIN.so...\n"), 2;
    for (int i = 0; i < count; i++)
        if (load(&plugins[i], argv[i + 1]) != 0) return 1;
    /* The first backtrace of a process loads the unwinder: not in a plug-in that has crashed. */
    void *frame;
    backtrace(&frame, 1);

    needm_config config = NEEDM_CONFIG_INIT;
    config.flags = NEEDM_CATCH_ABORT;
    if (needm_start(&config) != 0) return 1;
    pthread_t dog;
    jobs = count * CALLS;
    for (int i = 0; i < THREADS; i++)
        if (pthread_mutex_init(&workers[i].lock, NULL) != 0) return 1;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return 1;
    if (pthread_create(&dog, NULL, watchdog, NULL) != 0) return 1;
    for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
    atomic_store(&all_done, 1);
    pthread_join(dog, NULL);

    printf("%-14s%-9s%-36s%-9s%s\n", "plug-in", "", "what happened", "signal", "where");
    for (int i = 0; i < count; i++) {
        const struct plugin *plugin = &plugins[i];
        print_name(plugin->path);
        printf("%-9s%-36s%-9s", plugin->failed ? "disabled" : "ok",
            plugin->ended ? needm_strerror(plugin->ended) : "returned", signal_name(plugin->info.signo));
        print_backtrace(plugin);
    }
    free(plugins);
    return needm_stop() == 0 ? 0 : 1;
}
