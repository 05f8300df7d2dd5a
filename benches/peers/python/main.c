/* Measures C threads that enter CPython. A thread's state is made at its first call and kept until
 * it exits; each call takes the lock and gives it back. With the argument "function", each call
 * also calls a Python function. */
#include <Python.h>

#include "../measure.h"
#include <pthread.h>
#include <string.h>

static PyObject *function;
static PyInterpreterState *interpreter;
static pthread_key_t key;
static __thread PyThreadState *own;

static void drop(void *state) {
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}
static void enter(void) {
    if (own == NULL) {
        own = PyThreadState_New(interpreter);
        pthread_setspecific(key, own);
    }
    PyEval_RestoreThread(own);
}
static void lock(void) {
    enter();
    PyEval_SaveThread();
}
static void call(void) {
    enter();
    PyObject *result = PyObject_CallNoArgs(function);
    Py_XDECREF(result);
    PyEval_SaveThread();
}

int main(int argc, char **argv) {
    Py_Initialize();
    PyRun_SimpleString("def call(): pass");
    function = PyObject_GetAttrString(PyImport_AddModule("__main__"), "call");
    if (function == NULL) return 1;
    interpreter = PyInterpreterState_Get();
    pthread_key_create(&key, drop);
    PyThreadState *main_thread = PyEval_SaveThread();
    measure(argc > 1 && strcmp(argv[1], "function") == 0 ? call : lock, NULL);
    PyEval_RestoreThread(main_thread);
    return 0;
}
