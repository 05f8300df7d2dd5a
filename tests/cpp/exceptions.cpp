/* C++ exceptions, pthread_exit and cancellation leave callbacks, and C that callbacks call. */
#include "../c/check.h"
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

static uint32_t binding;

/* Counts as it is destroyed. */
struct Counts {
    int *count;
    explicit Counts(int *counter) : count(counter) {}
    Counts(const Counts &) = delete;
    ~Counts() { ++*count; }
};

struct State {
    int destroyed = 0, deferred = 0, depth = 0;
    std::string order;
};
static void defers(void *arg) {
    State *state = static_cast<State *>(arg);
    state->deferred++;
    state->order += 'd';
    CHECK(needm_depth() >= 1);
    CHECK_EQ(needm_callback(nothing, nullptr, 0, nullptr), 0);
}
static bool is_on_the_g(void *address) {
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    return address >= lo && address < hi;
}

/* Nothing is left of the callbacks that were left: the world stops, needm nests no deeper, faults are
 * errors. */
static void all_is_well(void) {
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_callback(fault, nullptr, 0, nullptr), NEEDM_EFAULT);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, nullptr), 0);
    CHECK_EQ(sum, 1);
}

static void throws(void *arg) {
    State *state = static_cast<State *>(arg);
    needm_defer defer;
    Counts counts(&state->destroyed);
    CHECK(is_on_the_g(&defer));
    CHECK_EQ(needm_defer_push(&defer, defers, state), 0);
    throw std::runtime_error("from the callback");
}
static void an_exception_leaves_a_callback(void) {
    for (int i = 0; i < rounds(1000); i++) {
        State state;
        try {
            Counts counts(&state.destroyed);
            needm_callback(throws, &state, 0, nullptr);
            CHECK(!"reached");
        } catch (const std::runtime_error &error) {
            CHECK_EQ(strcmp(error.what(), "from the callback"), 0);
            char here;
            CHECK(!needm_self() || !is_on_the_g(&here));
        }
        CHECK_EQ(state.destroyed, 2);
        CHECK_EQ(state.deferred, 1);
        all_is_well();
    }
}

/* Destructors of the caller's frames call back, while the exception is under way. */
struct CallsBack {
    long sum = 0;
    ~CallsBack() {
        CHECK_EQ(needm_depth(), 0);
        CHECK_EQ(needm_callback(add, &sum, 0, nullptr), 0);
        CHECK_EQ(needm_callback(fault, nullptr, 0, nullptr), NEEDM_EFAULT);
        CHECK_EQ(sum, 1);
    }
};
static void destructors_call_back_meanwhile(void) {
    for (int i = 0; i < rounds(200); i++) {
        State state;
        try {
            CallsBack one, two;
            needm_callback(throws, &state, 0, nullptr);
        } catch (const std::exception &) {
            state.order += 'c';
        }
        CHECK_EQ(strcmp(state.order.c_str(), "dc"), 0);
        all_is_well();
    }
}

/* A frame that was copied is copied back. */
struct Frame {
    long words[33];
};
static void changes_and_throws(void *arg) {
    Frame *frame = static_cast<Frame *>(arg);
    CHECK_EQ(frame->words[3], 3);
    frame->words[32] = 77;
    throw 5;
}
static void frames_are_copied_back(void) {
    Frame frame{};
    frame.words[3] = 3;
    try {
        needm_callback(changes_and_throws, &frame, sizeof frame, nullptr);
        CHECK(!"reached");
    } catch (int number) {
        CHECK_EQ(number, 5);
    }
    CHECK_EQ(frame.words[32], 77);
    all_is_well();
}

/* Through several callbacks, directly nested and by C. Caught at the bottom, or in the middle. */
static void nests(void *arg);
static void nests_from_c(void *arg) {
    State *state = static_cast<State *>(arg);
    Counts counts(&state->destroyed);
    CHECK(!is_on_the_g(&counts));
    needm_callback(nests, state, 0, nullptr);
}
static void nests(void *arg) {
    State *state = static_cast<State *>(arg);
    Counts counts(&state->destroyed);
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, defers, state), 0);
    if (state->depth-- == 0) throw std::string("deep");
    if (state->depth % 2)
        CHECK_EQ(needm_ccall(nests_from_c, state), 0);
    else
        needm_callback(nests, state, 0, nullptr);
}
static void through_many_callbacks(void) {
    for (int depth = 0; depth < 20; depth++) {
        State state;
        state.depth = depth;
        bool caught = false;
        try {
            needm_callback(nests, &state, 0, nullptr);
        } catch (const std::string &what) {
            caught = what == "deep";
        }
        CHECK(caught);
        CHECK_EQ(state.deferred, depth + 1);
        CHECK(state.destroyed >= depth + 1);
        all_is_well();
    }
}
static void catches_in_the_middle(void *arg) {
    State *state = static_cast<State *>(arg);
    bool caught = false;
    try {
        CHECK_EQ(needm_ccall(nests_from_c, state), 0);
    } catch (const std::string &) {
        caught = true;
        char here;
        CHECK(is_on_the_g(&here));
    }
    CHECK(caught);
    CHECK_EQ(needm_depth(), 1);
    CHECK_EQ(needm_ccall(nothing, nullptr), 0);
    CHECK_EQ(needm_callback(fault, nullptr, 0, nullptr), NEEDM_EFAULT);
    state->order += 'm';
}
static void caught_in_the_middle(void) {
    for (int depth = 0; depth < 10; depth++) {
        State state;
        state.depth = depth;
        CHECK_EQ(needm_callback(catches_in_the_middle, &state, 0, nullptr), 0);
        CHECK_EQ(state.order.back(), 'm');
        all_is_well();
    }
}

/* Out of C that a callback called, into the callback. The world may be stopped in between. */
static void throws_in_c(void *arg) {
    Counts counts(static_cast<int *>(arg));
    throw std::make_unique<int>(42);
}
static void catches_what_c_throws(void *arg) {
    State *state = static_cast<State *>(arg);
    for (int i = 0; i < 3; i++) {
        try {
            needm_ccall(throws_in_c, &state->destroyed);
            CHECK(!"reached");
        } catch (const std::unique_ptr<int> &number) {
            CHECK_EQ(*number, 42);
            char here;
            CHECK(is_on_the_g(&here));
        }
        needm_safepoint();
        needm_panic_info info = NEEDM_PANIC_INFO_INIT;
        CHECK_EQ(needm_callback(panic, state, 0, &info), NEEDM_EPANIC);
        CHECK(info.value == state);
    }
}
static void exceptions_come_out_of_c(void) {
    for (int i = 0; i < rounds(300); i++) {
        State state;
        CHECK_EQ(needm_callback(catches_what_c_throws, &state, 0, nullptr), 0);
        CHECK_EQ(state.destroyed, 3);
        all_is_well();
    }
}

/* One that stops the world and is left: the world is started. */
static void stops_the_world_and_throws(void *) {
    CHECK_EQ(needm_stop_the_world(), 0);
    throw 1;
}
static void the_world_is_started(void) {
    try {
        needm_callback(stops_the_world_and_throws, nullptr, 0, nullptr);
        CHECK(!"reached");
    } catch (int) {
    }
    CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    all_is_well();
}

/* Threads that exit or are cancelled inside. */
struct Exit {
    State state;
    void (*callback)(void *);
    std::atomic<bool> ready{false};
    bool from_c = false;
};
static void exits(void *arg) {
    Exit *end = static_cast<Exit *>(arg);
    Counts counts(&end->state.destroyed);
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, defers, &end->state), 0);
    if (end->from_c) {
        needm_ccall([](void *) { pthread_exit(const_cast<char *>("over")); }, nullptr);
    }
    pthread_exit(const_cast<char *>("over"));
}
static void waits(void *arg) {
    Exit *end = static_cast<Exit *>(arg);
    Counts counts(&end->state.destroyed);
    end->ready = true;
    for (;;) pause();
}
static void is_cancelled(void *arg) {
    Exit *end = static_cast<Exit *>(arg);
    Counts counts(&end->state.destroyed);
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, defers, &end->state), 0);
    if (end->from_c)
        needm_ccall(waits, end);
    else
        waits(end);
}
static void nests_and_ends(void *arg) {
    Exit *end = static_cast<Exit *>(arg);
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, defers, &end->state), 0);
    needm_callback(end->callback, end, 0, nullptr);
}
static void *calls_back(void *arg) {
    Exit *end = static_cast<Exit *>(arg);
    Counts counts(&end->state.destroyed);
    CHECK_EQ(needm_callback(nothing, nullptr, 0, nullptr), 0);
    needm_callback(nests_and_ends, end, 0, nullptr);
    CHECK(!"reached");
    return nullptr;
}
static void threads_exit_in_callbacks(void) {
    uint64_t made = stats().ms_total;
    for (int i = 0; i < rounds(200); i++) {
        Exit end;
        end.from_c = i % 2;
        end.callback = exits;
        void *result = nullptr;
        CHECK_EQ(pthread_join(thread(calls_back, &end), &result), 0);
        CHECK(result && strcmp(static_cast<char *>(result), "over") == 0);
        CHECK_EQ(end.state.deferred, 2);
        CHECK_EQ(end.state.destroyed, 2);
        all_is_well();
    }
    CHECK(stats().ms_total <= made + 2);
}
static void threads_are_cancelled_in_callbacks(void) {
    uint64_t made = stats().ms_total;
    for (int i = 0; i < rounds(200); i++) {
        Exit end;
        end.from_c = i % 2;
        end.callback = is_cancelled;
        pthread_t other = thread(calls_back, &end);
        WAIT_UNTIL(end.ready);
        CHECK_EQ(pthread_cancel(other), 0);
        void *result = nullptr;
        CHECK_EQ(pthread_join(other, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
        CHECK_EQ(end.state.deferred, 2);
        CHECK_EQ(end.state.destroyed, 3);
        all_is_well();
    }
    CHECK(stats().ms_total <= made + 2);
}

/* Threads that needm has made. */
static std::atomic<int> counted{0};
static void spawned_threads_exit(void) {
    int count = rounds(100);
    for (int i = 0; i < count; i++)
        CHECK_EQ(needm_spawn([](void *) {
            needm_defer defer;
            CHECK_EQ(needm_defer_push(&defer, [](void *) { counted++; }, nullptr), 0);
            pthread_exit(nullptr);
        }, nullptr), 0);
    WAIT_UNTIL(counted == count);
    all_is_well();
}

/* All at once on many threads, while the world is stopped again and again. */
static std::atomic<bool> over{false};
static void *leaves_again_and_again(void *) {
    for (int i = 0; i < rounds(500); i++) {
        State state;
        state.depth = i % 6;
        try {
            needm_callback(i % 3 ? nests : throws, &state, 0, nullptr);
            CHECK(!"reached");
        } catch (...) {
            CHECK(state.deferred > 0);
        }
        CHECK_EQ(needm_depth(), 0);
    }
    return nullptr;
}
static void *stops_again_and_again(void *) {
    while (!over) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        usleep(100);
    }
    return nullptr;
}
static void many_threads_throw(void) {
    pthread_t threads[4], stopper = thread(stops_again_and_again, nullptr);
    for (auto &made : threads) made = thread(leaves_again_and_again, nullptr);
    for (auto made : threads) join(made);
    over = true;
    join(stopper);
    CHECK(stats().ms_total <= 20);
    all_is_well();
}

int main(int argc, char **argv) {
    parse_seed(argc, argv, &binding);
    needm_config config = NEEDM_CONFIG_INIT;
    config.binding = binding;
    CHECK_EQ(needm_start(&config), 0);
    RUN(an_exception_leaves_a_callback);
    RUN(destructors_call_back_meanwhile);
    RUN(frames_are_copied_back);
    RUN(through_many_callbacks);
    RUN(caught_in_the_middle);
    RUN(exceptions_come_out_of_c);
    RUN(the_world_is_started);
    RUN(threads_exit_in_callbacks);
    RUN(threads_are_cancelled_in_callbacks);
    RUN(spawned_threads_exit);
    RUN(many_threads_throw);
    stop_when_idle();
    return SUCCESS;
}
