#ifndef MEASURE_H
#define MEASURE_H

/* Prints a line each: steady, first, fault (nanoseconds), memory (bytes a thread). `call`
 * calls into the runtime, `fault` too and recovers there from writing through a null
 * pointer; NULL where a runtime cannot. */
void measure(void (*call)(void), void (*fault)(void));

/* The same for a plain call through a pointer, which is "steady" only. */
void measure_calls(void);

#endif
