/* Does its work. */
#include "../plugin.h"

int plugin_run(int input) { return 2 * input; }
