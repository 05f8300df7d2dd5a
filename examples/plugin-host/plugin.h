/* What a plug-in and its host agree on. */
#ifndef PLUGIN_H
#define PLUGIN_H

/* Each plug-in defines it. */
int plugin_run(int input);

/* Keeps a function as it is written: in a backtrace by its own name, with its own frame. */
#define NOINLINE __attribute__((noinline))

#endif
