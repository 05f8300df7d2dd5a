/* What a program may ask: the version, names of errors, how deep in callbacks it is, and how much
 * stack is left. */
#include "check.h"

static unsigned depths[4];
static size_t left[4];
static void innermost(void *arg) {
    (void)arg;
    depths[2] = needm_depth();
    left[2] = needm_stack_left();
}
static void in_c(void *arg) {
    (void)arg;
    depths[1] = needm_depth();
    left[1] = needm_stack_left();
    CHECK_EQ(needm_callback(innermost, NULL, 0, NULL), 0);
    CHECK_EQ(needm_depth(), 1);
}
static void outermost(void *arg) {
    (void)arg;
    depths[0] = needm_depth();
    left[0] = needm_stack_left();
    CHECK_EQ(needm_ccall(in_c, NULL), 0);
    CHECK_EQ(needm_depth(), 1);
}
static void depth_and_stack(void) {
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    start((needm_config){0});
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    size_t size = (size_t)((char *)hi - (char *)lo);
    CHECK_EQ(needm_callback(outermost, NULL, 0, NULL), 0);
    CHECK_EQ(depths[0], 1);
    CHECK_EQ(depths[1], 1);
    CHECK_EQ(depths[2], 2);
    CHECK(left[0] < size && left[0] > size - 4096);
    CHECK(left[1] < left[0] && left[1] > size - 8192);
    CHECK(left[2] < left[1] && left[2] > size - 16384);
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void versions_and_names(void) {
    CHECK_EQ(needm_version(), NEEDM_VERSION);
    CHECK(strcmp(needm_error_name(NEEDM_EBUSY), "NEEDM_EBUSY") == 0);
    CHECK(strcmp(needm_error_name(NEEDM_ESYS), "NEEDM_ESYS") == 0);
    CHECK(strcmp(needm_error_name(NEEDM_ENOTSTARTED), "NEEDM_ENOTSTARTED") == 0);
    CHECK(strcmp(needm_error_name(0), "0") == 0);
    CHECK(strcmp(needm_error_name(1), "unknown error") == 0);
}
int main(void) {
    RUN(versions_and_names);
    RUN(depth_and_stack);
    return SUCCESS;
}
