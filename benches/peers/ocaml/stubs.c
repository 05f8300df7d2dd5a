/* A thread is registered at its first call, and unregistered at its exit; each call takes the
 * runtime's lock and gives it back (OCaml's manual, "Callbacks from other threads"). */
#define CAML_NAME_SPACE
#include "../measure.h"
#include <caml/callback.h>
#include <caml/mlvalues.h>
#include <caml/threads.h>
#include <pthread.h>

static const value *function;
static pthread_key_t key;
static __thread int registered;

static void unregister(void *arg) {
    (void)arg;
    caml_c_thread_unregister();
}
static void call(void) {
    if (!registered) {
        registered = 1;
        caml_c_thread_register();
        pthread_setspecific(key, &key);
    }
    caml_acquire_runtime_system();
    caml_callback(*function, Val_unit);
    caml_release_runtime_system();
}

value peer_measure(value unit) {
    function = caml_named_value("call");
    pthread_key_create(&key, unregister);
    caml_release_runtime_system();
    measure(call, NULL);
    caml_acquire_runtime_system();
    return unit;
}
