/* cgo compiles what is in its own folder. */
#include "../measure.c"
