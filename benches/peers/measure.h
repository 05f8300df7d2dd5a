/* What measure.c offers to the program of each runtime. */
#ifndef MEASURE_H
#define MEASURE_H

/* Prints a line each: repeated, first, fault (nanoseconds), memory (bytes for a thread).
 * `call` calls into the runtime; `fault` does so, too, and there recovers from a write
 * through a null pointer: NULL where a runtime cannot. */
void measure(void (*call)(void), void (*fault)(void));

/* The same for what has only "repeated"; NULL: a plain call through a pointer. */
void measure_calls(void (*call)(void));

#endif
