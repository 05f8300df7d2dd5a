/* A program that was compiled with the first version of needm.h: its structs are shorter than
 * the library's, and mean what they meant. */
#include "first_version.h"
#include "check.h"

static int made;
static int m_new(void *user, needm_m *m) {
    (void)m;
    ++*(int *)user;
    return 0;
}
int main(void) {
    /* What lies behind the structs must not be read as a part of them. */
    struct {
        needm_hooks hooks;
        unsigned char behind[64];
    } hooks = {.hooks = NEEDM_HOOKS_INIT};
    struct {
        needm_config config;
        unsigned char behind[64];
    } config;
    memset(hooks.behind, 0xff, sizeof hooks.behind);
    /* Nor is the padding at the end of the older struct, where arm has room for the next member. */
    memset(&config, 0xff, sizeof config);
    config.config.size = sizeof config.config;
    config.config.max_ms = 0;
    config.config.stack_size = 0;
    config.config.signal_stack_size = 0;
    config.config.binding = NEEDM_BIND_THREAD;
    config.config.flags = 0;
    config.config.wait_ns = 0;
    hooks.hooks.user = &made;
    hooks.hooks.m_new = m_new;
    config.config.hooks = &hooks.hooks;
    config.config.seed_ms = 2;
    CHECK_EQ(needm_start(&config.config), 0);
    CHECK_EQ(made, 2);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    CHECK_EQ(needm_callback(overflow, NULL, 0, &info), NEEDM_EOVERFLOW);
    CHECK_EQ(info.kind, NEEDM_EOVERFLOW);
    needm_stats stats = NEEDM_STATS_INIT;
    needm_get_stats(&stats);
    CHECK_EQ(stats.overflows, 1);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
