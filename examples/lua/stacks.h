/* Coroutines with C stacks, for Lua: stacks.c. */
#ifndef STACKS_H
#define STACKS_H
#include <lua.h>
#include <stdatomic.h>

/* Makes the table "stacks" in a state. */
void stacks_open(lua_State *lua);

/* Deferred functions that crash_with_deferred has left, and that have run. */
extern atomic_int stacks_deferred;
#endif
