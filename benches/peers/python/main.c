/* Measures C threads that call a Python function. */
#include <Python.h>

#include "../measure.h"

static PyObject *function;

static void call(void) {
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *result = PyObject_CallObject(function, NULL);
    Py_XDECREF(result);
    PyGILState_Release(state);
}

int main(void) {
    Py_Initialize();
    PyRun_SimpleString("def call(): pass");
    function = PyObject_GetAttrString(PyImport_AddModule("__main__"), "call");
    if (function == NULL) return 1;
    PyThreadState *own = PyEval_SaveThread();
    measure(call, NULL);
    PyEval_RestoreThread(own);
    return 0;
}
