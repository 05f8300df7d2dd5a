/* A program that uses libm, and names it behind needm's archive: what it calls is libm's. */
#include "check.h"
#include <dlfcn.h>
#include <math.h>

static void remainder_by_three(void *number) { *(double *)number = fmod(*(double *)number, 3.0); }

static void is_in_libm(const char *name) {
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, name);
    CHECK(function != NULL);
    CHECK(dladdr(function, &info) != 0);
    CHECK(strstr(info.dli_fname, "libm") != NULL);
}

int main(void) {
    start((needm_config){0});
    volatile double number = 7.5;
    double rest = number;
    CHECK_EQ(needm_callback(remainder_by_three, &rest, 0, NULL), 0);
    CHECK(rest == 1.5);
    CHECK(floor(number) + ceil(number) + sqrt(number * number) == 22.5);
    is_in_libm("fmod");
    is_in_libm("floor");
    is_in_libm("ceil");
    is_in_libm("sqrt");
    return SUCCESS;
}
