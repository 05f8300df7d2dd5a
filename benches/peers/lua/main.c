/* Measures C threads that call a function of Lua's, each in a state of its own that stays until it
 * exits: a plain C call, on the thread's own stack. */
#include "../measure.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_key_t key;
static __thread lua_State *own;

static void drop(void *state) { lua_close(state); }
static void call(void) {
    if (own == NULL) {
        own = luaL_newstate();
        if (own == NULL || luaL_dostring(own, "return function() end") != LUA_OK) abort();
        pthread_setspecific(key, own);
    }
    lua_pushvalue(own, 1);
    lua_call(own, 0, 0);
}

int main(void) {
    pthread_key_create(&key, drop);
    measure(call, NULL);
    return 0;
}
