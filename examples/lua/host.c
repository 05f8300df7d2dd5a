/* Lua as a runtime whose functions are called on threads of libuv's pool and of GLib's, neither of
 * which knows of Lua. Each M carries a Lua state: a thread that calls back finds the one of its M,
 * so that no lock is needed and as many run at once as there are threads.
 *
 * lua SCRIPT prints what each function of the script gave, and on how many threads. */
#define _GNU_SOURCE
#include <glib.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <needm.h>
#include "stacks.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char *script;

/* A function of a module in C, with a mistake. */
static int crash(lua_State *lua) {
    volatile int *volatile nowhere = NULL;
    (void)lua;
    *nowhere = 1;
    return 0;
}

static lua_State *new_state(void) {
    lua_State *lua = luaL_newstate();
    if (lua == NULL) return NULL;
    luaL_openlibs(lua);
    lua_register(lua, "crash", crash);
    stacks_open(lua);
    if (luaL_dofile(lua, script) != LUA_OK) {
        fprintf(stderr, "lua: %s\n", lua_tostring(lua, -1));
        lua_close(lua);
        return NULL;
    }
    return lua;
}

/* The hooks: a state for each M, for as long as the M exists. */
static int m_new(void *user, needm_m *m) {
    (void)user;
    needm_m_set_local(m, new_state());
    return needm_m_local(m) ? 0 : -1;
}
static void m_free(void *user, needm_m *m) {
    (void)user;
    if (needm_m_local(m)) lua_close(needm_m_local(m));
}

/* One call of a function of the script, and its answer. */
struct call {
    const char *function;
    int argument, ended, status;
    char answer[120];
};

/* In the callback. lua_pcall catches Lua's errors, which are jumps within this callback. */
static void call_lua(void *arg) {
    struct call *call = arg;
    lua_State *lua = needm_m_local(needm_self());
    lua_settop(lua, 0);
    lua_getglobal(lua, call->function);
    lua_pushinteger(lua, call->argument);
    call->status = lua_pcall(lua, 1, 1, 0);
    const char *text = lua_tostring(lua, -1);
    snprintf(call->answer, sizeof call->answer, "%s", text ? text : "nil");
}

static void make_call(struct call *call) {
    call->ended = needm_callback(call_lua, call, 0, NULL);
    if (call->ended != 0) {
        /* What was skipped has left the state as it was in the middle of something. Another one
         * takes its place; the memory of this one is lost. */
        snprintf(call->answer, sizeof call->answer, "%s", needm_error_name(call->ended));
        if (needm_attach() == 0) needm_m_set_local(needm_self(), new_state());
    }
}

/* The threads that were seen, and the sum of numbers that were answered. */
enum { CALLS = 400 };
static atomic_long sum, failed;
static atomic_uint threads;
static _Thread_local int seen;
static void note(const struct call *call) {
    if (!seen++) {
        atomic_fetch_add(&threads, 1);
        while (atomic_load(&threads) < 2) sched_yield(); /* else one may do all before the next starts */
    }
    atomic_fetch_add(&sum, atol(call->answer));
    if (call->ended != 0 || call->status != LUA_OK) atomic_fetch_add(&failed, 1);
}
static void report(const char *library) {
    printf("%-6s %d calls of fib(15) on several threads: %ld failed, sum %ld\n", library, CALLS,
        atomic_load(&failed), atomic_load(&sum));
    sum = failed = threads = 0;
}

/* libuv: work on the threads of its pool. */
static void uv_work(uv_work_t *work) {
    struct call call = {.function = "fib", .argument = 15};
    (void)work;
    make_call(&call);
    note(&call);
}
static void by_libuv(void) {
    static uv_work_t work[CALLS];
    for (int i = 0; i < CALLS; i++) uv_queue_work(uv_default_loop(), &work[i], uv_work, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    report("libuv:");
}

/* GLib: the same on the threads of one of its pools. */
static void glib_work(gpointer data, gpointer user) {
    struct call call = {.function = "fib", .argument = 15};
    (void)data, (void)user;
    make_call(&call);
    note(&call);
}
static void by_glib(void) {
    GThreadPool *pool = g_thread_pool_new(glib_work, NULL, 4, TRUE, NULL);
    for (int i = 0; i < CALLS; i++) g_thread_pool_push(pool, GINT_TO_POINTER(1), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    report("GLib:");
}

/* One thread of GLib's that calls each function of the script, and goes on after each. */
static gpointer tries_all(gpointer data) {
    static const struct { const char *function, *what; } all[] = {
        {"fails", "an error"},
        {"deep", "recursion in Lua"},
        {"deep_in_c", "recursion through C"},
        {"breaks", "a crash in a module"},
        {"fib", "afterwards"},
        {"add", "a coroutine"},
        {"add", "the same, resumed by another callback"},
        {"yields_from_c", "a yield out of a function in C"},
        {"add_there", "a coroutine with a C stack"},
        {"add_there", "the same, resumed by another callback"},
        {"ends_by_error", "an error on a C stack"},
        {"where", "a ccall there"},
        {"through_c", "a callback inside, there"},
        {"scan", "a stop of the world and a scan, there"},
        {"crash_there", "a crash there"},
        {"overflow_there", "that stack runs out"},
        {"panic_there", "a panic there"},
        {"crash_with_deferred", "a deferred function, there"},
        {"fib", "afterwards"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct call call = {.function = all[i].function, .argument = 10};
        make_call(&call);
        /* Without the trace: the first line, and no more than fits. */
        call.answer[strcspn(call.answer, "\n")] = 0;
        printf("%-38s %s\n", all[i].what, call.answer);
    }
    return data;
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: lua SCRIPT\n"), 2;
    script = argv[1];
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.m_new = m_new;
    hooks.m_free = m_free;
    needm_config config = NEEDM_CONFIG_INIT;
    config.hooks = &hooks;
    /* Lua allows 200 C functions inside one another; string.gsub has a kilobyte in each. */
    config.stack_size = 1024 * 1024;
    if (needm_start(&config) != 0) return fprintf(stderr, "lua: cannot start\n"), 1;
    by_libuv();
    by_glib();
    g_thread_join(g_thread_new("tries", tries_all, NULL));
    printf("%-38s %d\n", "deferred functions that have run", atomic_load(&stacks_deferred));
    uv_loop_close(uv_default_loop());
    return needm_stop() == 0 ? 0 : 1;
}
