/* The guest as an addon of Node's. Its interface is declared here, because Debian has its
 * headers in another package (https://nodejs.org/api/n-api.html). */
#include "guest.h"
#include <stddef.h>
#include <stdint.h>

typedef void *value;
typedef value (*callback)(void *env, void *info);
int napi_create_int32(void *env, int32_t number, value *result);
int napi_get_value_int32(void *env, value number, int32_t *result);
int napi_get_cb_info(void *env, void *info, size_t *argc, value *argv, value *self, void **data);
int napi_create_function(void *env, const char *name, size_t length, callback fn, void *data,
                         value *result);
int napi_set_named_property(void *env, value object, const char *name, value property);

static value number(void *env, int32_t n) {
    value result = NULL;
    napi_create_int32(env, n, &result);
    return result;
}
static value start(void *env, void *info) { (void)info; return number(env, guest_start()); }
static value finish(void *env, void *info) { (void)info; return number(env, guest_finish()); }
static value mix(void *env, void *info) {
    size_t count = 1;
    value argument;
    int32_t round = 0;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    napi_get_value_int32(env, argument, &round);
    return number(env, guest_mix(round));
}

static void add(void *env, value exports, const char *name, callback fn) {
    value function = NULL;
    napi_create_function(env, name, SIZE_MAX, fn, NULL, &function);
    napi_set_named_property(env, exports, name, function);
}

value napi_register_module_v1(void *env, value exports) {
    add(env, exports, "start", start);
    add(env, exports, "mix", mix);
    add(env, exports, "finish", finish);
    return exports;
}
