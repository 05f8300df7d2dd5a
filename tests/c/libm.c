/* A program that uses libm, and names it behind needm's archive: what it calls is libm's.
   With OTHER_LIBRARY there is another library in Rust, too, which catches a panic. */
#include "check.h"
#include <dlfcn.h>
#include <math.h>

static void remainder_by_three(void *number) { *(double *)number = fmod(*(double *)number, 3.0); }

#ifdef OTHER_LIBRARY
double other_library(double number);
static void call_the_other(void *number) { *(double *)number = other_library(*(double *)number); }
#endif

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
#ifdef OTHER_LIBRARY
    rest = 4.5;
    CHECK_EQ(needm_callback(call_the_other, &rest, 0, NULL), 0);
    CHECK(rest == 9);
#endif
    return SUCCESS;
}
