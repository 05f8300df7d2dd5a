/* cgo compiles only files of its own folder: this brings ../measure.c into it. */
#include "../measure.c"
