/* Coroutines with C stacks, for Lua: stacks.wrap(f) as coroutine.wrap, stacks.yield as coroutine.yield.
 * Each has a stack of its own, so it may yield from anywhere, also out of a function in C (the
 * replacement function of string.gsub, a sort's comparison), which Lua's own cannot. needm is told of each
 * switch: on such a stack code of a callback may do all that it may do on its G. The functions below
 * wrap and yield do each of these things. */
#define _GNU_SOURCE
#include "stacks.h"
#include <lauxlib.h>
#include <needm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK = 128 * 1024 };

struct coroutine {
    ucontext_t own, from;
    char *map, *lo, *hi; /* [map, lo) is the guard */
    lua_State *lua;      /* what runs there */
    int values, status, over;
    struct coroutine *outer;
};
static _Thread_local struct coroutine *running;

static void entry(void) {
    struct coroutine *self = running;
    self->status = lua_pcall(self->lua, self->values, LUA_MULTRET, 0);
    self->values = lua_gettop(self->lua);
    self->over = 1;
    swapcontext(&self->own, &self->from);
}

/* What wrap gives: goes on with the coroutine until it yields or is over. */
static int resume(lua_State *lua) {
    struct coroutine *self = lua_touserdata(lua, lua_upvalueindex(1));
    needm_stack old;
    if (self->over || self->outer || self == running) return luaL_error(lua, "cannot resume it");
    self->values = lua_gettop(lua);
    if (!lua_checkstack(self->lua, self->values)) return luaL_error(lua, "too many values");
    lua_xmove(lua, self->lua, self->values);
    /* Outside callbacks there is nothing to tell. */
    int told = needm_enter_stack(self->lo, self->hi, &old) == 0;
    self->outer = running;
    running = self;
    swapcontext(&self->from, &self->own);
    running = self->outer;
    self->outer = NULL;
    if (told) needm_leave_stack(&old);
    luaL_checkstack(lua, self->values, NULL);
    lua_xmove(self->lua, lua, self->values);
    return self->over && self->status != LUA_OK ? lua_error(lua) : self->values;
}

static int yield(lua_State *lua) {
    struct coroutine *self = running;
    if (!self || self->lua != lua) return luaL_error(lua, "not in a coroutine with a C stack");
    self->values = lua_gettop(lua);
    swapcontext(&self->own, &self->from);
    return self->values;
}

static int release(lua_State *lua) {
    struct coroutine *self = lua_touserdata(lua, 1);
    if (self->map) munmap(self->map, (size_t)(self->hi - self->map));
    self->map = NULL;
    return 0;
}

static int wrap(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    struct coroutine *made = lua_newuserdatauv(lua, sizeof *made, 1);
    *made = (struct coroutine){0};
    luaL_setmetatable(lua, "stacks.coroutine");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, page + STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return luaL_error(lua, "no memory for a stack");
    made->map = map;
    made->lo = map + page;
    made->hi = made->lo + STACK;
    if (mprotect(made->lo, STACK, PROT_READ | PROT_WRITE) != 0 || getcontext(&made->own) != 0)
        return luaL_error(lua, "no memory for a stack");
    made->own.uc_stack.ss_sp = made->lo;
    made->own.uc_stack.ss_size = STACK;
    makecontext(&made->own, entry, 0);
    made->lua = lua_newthread(lua);
    lua_pushvalue(lua, 1);
    lua_xmove(lua, made->lua, 1);
    lua_setiuservalue(lua, -2, 1); /* so that it lives as long */
    lua_pushcclosure(lua, resume, 1);
    return 1;
}

/* What a callback may do on its G, done on whatever stack calls it. */

static int crash(lua_State *lua) {
    volatile int *volatile nowhere = NULL;
    (void)lua;
    *nowhere = 1;
    return 0;
}
__attribute__((noinline)) static int descend(volatile char *above) {
    volatile char frame[512];
    frame[0] = above ? above[0] : 1;
    if (frame[0] == 0) return 0; /* never: but no compiler sees that */
    return descend(frame) + frame[0];
}
static int overflow(lua_State *lua) {
    lua_pushinteger(lua, descend(NULL));
    return 1;
}
static int panic(lua_State *lua) { needm_panic(lua); }

static void runs_at_the_end(void *arg) { atomic_fetch_add((atomic_int *)arg, 1); }
static int crash_with_deferred(lua_State *lua) {
    needm_defer record; /* on this stack */
    if (needm_defer_push(&record, runs_at_the_end, &stacks_deferred) != 0) return 0;
    return crash(lua);
}

static void notes_where(void *arg) { *(uintptr_t *)arg = (uintptr_t)__builtin_frame_address(0); }
static int on(uintptr_t address, void *lo, void *hi) {
    return address >= (uintptr_t)lo && address < (uintptr_t)hi;
}
/* The stack of this function, and that of C which it calls. */
static int where(lua_State *lua) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), in_c = 0;
    void *lo, *hi;
    needm_g_bounds(needm_self(), &lo, &hi);
    if (needm_ccall(notes_where, &in_c) != 0) return 0;
    const char *own = running && on(here, running->lo, running->hi) ? "a C stack" : on(here, lo, hi) ? "the G" : "neither";
    int outside = !on(in_c, lo, hi) && !(running && on(in_c, running->lo, running->hi));
    lua_pushfstring(lua, "on %s, C on %s", own, outside ? "the thread's" : "the same");
    return 1;
}

/* A callback of C that a callback has called: it calls the function of Lua's that it was given. */
static void calls_lua(void *lua) { lua_call(lua, 0, 1); }
static void calls_back(void *lua) {
    if (needm_callback(calls_lua, lua, 0, NULL) != 0) lua_pushnil(lua);
}
static int through_c(lua_State *lua) {
    lua_settop(lua, 1);
    return needm_ccall(calls_back, lua) == 0;
}

/* Another thread stops the world, which waits for a safepoint here, and looks for an object that only
 * this frame refers to. */
static int object;
static atomic_int scanned;
static int look(const needm_m *m, void *sp, void *hi, void *found) {
    (void)m;
    for (uintptr_t *word = sp; word < (uintptr_t *)hi; word++)
        if (*word == (uintptr_t)&object) *(int *)found = 1;
    return 0;
}
static void *stops_and_scans(void *found) {
    if (needm_stop_the_world() == 0) {
        needm_each_m(look, found);
        needm_start_the_world();
    }
    atomic_store(&scanned, 1);
    return NULL;
}
static int scan(lua_State *lua) {
    int *volatile only_here = &object;
    int by_another = 0, by_itself = 0;
    pthread_t thread;
    atomic_store(&scanned, 0);
    if (pthread_create(&thread, NULL, stops_and_scans, &by_another) != 0) return 0;
    while (!atomic_load(&scanned)) needm_safepoint();
    pthread_join(thread, NULL);
    stops_and_scans(&by_itself);
    lua_pushfstring(lua, "%s, %s", by_another ? "found" : "lost", by_itself ? "found" : "lost");
    return *only_here == 0;
}

atomic_int stacks_deferred;

void stacks_open(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"wrap", wrap},         {"yield", yield},   {"crash", crash},         {"overflow", overflow},
        {"panic", panic},       {"scan", scan},     {"through_c", through_c}, {"where", where},
        {"crash_with_deferred", crash_with_deferred}, {NULL, NULL},
    };
    luaL_newmetatable(lua, "stacks.coroutine");
    lua_pushcfunction(lua, release);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
    luaL_newlib(lua, functions);
    lua_setglobal(lua, "stacks");
}
