/* needm.hpp. */
#include "../c/check.h"
#include <needm.hpp>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#ifndef _WIN32
#include <ucontext.h>
#endif

static bool is_on_the_g(const void *address) {
    void *lo, *hi;
    CHECK(needm_self());
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    return address >= lo && address < hi;
}
template <class E, class F> static E caught(F function) {
    try {
        function();
    } catch (const E &error) {
        return error;
    }
    CHECK(!"thrown");
    abort();
}

static void results_come_back(void) {
    needm::runtime runtime;
    CHECK_EQ(needm::callback([] { return 42; }), 42);
    int place = 7;
    int &same = needm::callback([&]() -> int & { return place; });
    CHECK(&same == &place);
    auto moved = needm::callback([] { return std::make_unique<std::string>("moved"); });
    CHECK(*moved == "moved");
    bool on_g = false, in_c = true;
    needm::callback([&] {
        char here;
        on_g = is_on_the_g(&here);
        std::string text = needm::ccall([&] {
            char there;
            in_c = is_on_the_g(&there);
            return std::string("from C");
        });
        CHECK(text == "from C");
    });
    CHECK(on_g && !in_c);
    auto counter = [count = 0]() mutable { return ++count; };
    CHECK_EQ(needm::callback(counter), 1);
}

static void exceptions_cross(void) {
    needm::runtime runtime;
    for (int i = 0; i < rounds(300); i++) {
        auto error = caught<std::runtime_error>([] {
            needm::callback([] {
                needm::ccall([] { needm::callback([]() -> int { throw std::runtime_error("deep"); }); });
            });
        });
        CHECK(std::string(error.what()) == "deep");
        CHECK_EQ(needm_depth(), 0);
    }
    bool here = false;
    needm::callback([&] {
        try {
            needm::ccall([] { throw 3; });
        } catch (int number) {
            here = number == 3;
        }
    });
    CHECK(here);
}

static void endings_are_errors(void) {
    needm::runtime runtime;
    auto fell = caught<needm::error>([] { needm::callback([] { fault(nullptr); }); });
    CHECK(fell.code() == needm::errc::fault && fell.ended_callback());
    CHECK_EQ(fell.info().signo, SIGSEGV);
    CHECK(std::string(fell.code().category().name()) == "needm");
    CHECK(fell.code().message() == needm_strerror(NEEDM_EFAULT));
    auto ran_out = caught<needm::error>([] { needm::callback([] { overflow(nullptr); }); });
    CHECK(ran_out.code() == needm::errc::overflow);
    int value;
    auto panicked = caught<needm::error>([&] { needm::callback([&] { needm_panic(&value); }); });
    CHECK(panicked.code() == needm::errc::panic && panicked.info().value == &value);
    auto interrupted = caught<needm::error>([&] {
        needm::callback([&] { CHECK_EQ(needm_interrupt(needm_self(), &value), 0); });
    });
    CHECK(interrupted.code() == needm::errc::interrupted && interrupted.info().value == &value);
    auto refused = caught<needm::error>([] { needm::ccall([] {}); });
    CHECK(refused.code() == needm::errc::invalid && !refused.ended_callback());
    std::error_code code = needm::errc::busy;
    CHECK(code == needm::errc::busy && code.value() == NEEDM_EBUSY);
}

/* At the end of the scope; and where a panic skips it, before the callback ends. */
static void deferred_functions_run_once(void) {
    needm::runtime runtime;
    std::string order;
    {
        needm::defer outside([&] { order += 'o'; });
    }
    CHECK(order == "o");
    order.clear();
    needm::callback([&] {
        needm::defer one([&] { order += '1'; });
        {
            needm::defer two([&] { order += '2'; });
        }
        order += 'b';
    });
    CHECK(order == "2b1");
    for (int kind = 0; kind < 3; kind++) {
        order.clear();
        auto error = caught<needm::error>([&] {
            needm::callback([&] {
                needm::defer one([&] { order += '1'; });
                needm::callback([&] { needm::defer inner([&] { order += 'i'; }); });
                auto again = caught<needm::error>([&] {
                    needm::callback([&] {
                        needm::defer inner([&] { order += 'f'; });
                        fault(nullptr);
                    });
                });
                CHECK(again.code() == needm::errc::fault);
                needm::defer two([&] { order += '2'; });
                if (kind == 0) fault(nullptr);
                if (kind == 1) overflow(nullptr);
                needm::ccall([] { needm_panic(nullptr); });
            });
        });
        CHECK(error.ended_callback());
        CHECK(order == "if21");
    }
    order.clear();
    caught<int>([&] {
        needm::callback([&] {
            needm::defer one([&] { order += '1'; });
            throw 1;
        });
    });
    CHECK(order == "1");
    auto recovered = caught<needm::error>([&] {
        needm::callback([&] {
            needm::defer one([&] {
                auto info = needm::recover();
                CHECK(info && info->kind == NEEDM_EFAULT);
            });
            fault(nullptr);
        });
    });
    CHECK(recovered.code() == needm::errc::panic && !recovered.ended_callback());
}

/* However one of them ends, those before it run. */
static void deferred_functions_that_fail_are_not_the_last(void) {
    needm::runtime runtime;
    for (auto first : {fault, panic})
        for (auto second : {fault, panic, overflow}) {
            std::string order;
            auto error = caught<needm::error>([&] {
                needm::callback([&] {
                    needm::defer one([&] { order += '1'; });
                    needm::defer two([&] {
                        order += '2';
                        second(nullptr);
                    });
                    needm::defer three([&] {
                        order += '3';
                        second(nullptr);
                    });
                    first(nullptr);
                });
            });
            CHECK(error.ended_callback());
            CHECK(order == "321");
        }
}

/* In a callback of needm.h inside, one that a panic skips runs at the end of that; another is its outer one's. */
static void deferred_functions_belong_to_the_innermost_callback(void) {
    needm::runtime runtime;
    static std::string order;
    order.clear();
    needm::callback([] {
        needm::defer outer([] { order += 'o'; });
        auto inner = [](void *) {
            needm::defer skipped([] { order += '1' + (needm_depth() != 2); });
            panic(nullptr);
        };
        CHECK_EQ(needm_callback(inner, nullptr, 0, nullptr), NEEDM_EPANIC);
        CHECK(order == "1");
        order += 'e';
    });
    CHECK(order == "1eo");
}

/* Nor is one lost, but that which it interrupts. */
static void interrupts_run_no_deferred_function_twice(void) {
    needm::runtime runtime;
    std::atomic<const needm_m *> inside{nullptr};
    std::atomic<bool> over{false};
    std::thread other([&] {
        while (!over)
            if (const needm_m *m = inside) needm_interrupt(m, nullptr);
    });
    int ended = 0;
    for (int i = 0; i < rounds(2000) || ended == 0; i++) {
        volatile int created = 0, ran = 0;
        try {
            needm::callback([&] {
                inside = needm_self();
                for (int again = 0; again < 100; again++) {
                    created = created + 1;
                    needm::defer one([&] { ran = ran + 1; });
                }
            });
        } catch (const needm::error &) {
            ended++;
        }
        inside = nullptr;
        CHECK(created == ran || created == ran + 1);
    }
    over = true;
    other.join();
}

#ifndef _WIN32 /* swapcontext */
/* Callbacks of two fibers of a thread, which are left in needm::ccall. */
struct fiber {
    ucontext_t own, thread;
    std::unique_ptr<char[]> stack;
    void (*body)(fiber &);
    std::string ran;
    int ended = 0;
    void go_on() { CHECK_EQ(swapcontext(&thread, &own), 0); }
    void leave() {
        needm::ccall([this] { CHECK_EQ(swapcontext(&own, &thread), 0); });
    }
};
static fiber *starting;
static void fiber_main() {
    fiber &own = *starting;
    try {
        needm::callback([&] { own.body(own); });
    } catch (const needm::error &error) {
        own.ended = error.code().value();
    }
    CHECK_EQ(swapcontext(&own.own, &own.thread), 0);
}
static void make(fiber &fiber, void (*body)(struct fiber &)) {
    const size_t size = 256 * 1024;
    fiber.stack = std::make_unique<char[]>(size);
    fiber.body = body;
    CHECK_EQ(getcontext(&fiber.own), 0);
    fiber.own.uc_stack.ss_sp = fiber.stack.get();
    fiber.own.uc_stack.ss_size = size;
    makecontext(&fiber.own, fiber_main, 0);
    starting = &fiber;
    fiber.go_on();
}
static bool ends_by_a_panic;
static void is_left_before_and_after(fiber &fiber) {
    fiber.leave();
    needm::defer one([&] { fiber.ran += '1'; });
    fiber.leave();
    if (ends_by_a_panic) panic(nullptr);
}
static void deferred_functions_of_fibers_run_once_at_their_ends(void) {
    needm::runtime runtime;
    for (int panics = 0; panics < 2; panics++)
        for (int last_ends_first = 0; last_ends_first < 2; last_ends_first++) {
            ends_by_a_panic = panics;
            fiber one, other;
            make(one, is_left_before_and_after);
            make(other, is_left_before_and_after);
            one.go_on();
            other.go_on();
            fiber &first = last_ends_first ? other : one, &second = last_ends_first ? one : other;
            first.go_on();
            CHECK(first.ran == "1" && second.ran.empty());
            CHECK_EQ(first.ended, panics ? NEEDM_EPANIC : 0);
            {
                needm::defer outside([&] { second.ran += '0'; });
            }
            second.go_on();
            CHECK(first.ran == "1" && second.ran == "01");
        }
}
#endif

static void the_world_is_stopped_for_a_scope(void) {
    needm::runtime runtime;
    needm::callback([] {
        int shown = 0;
        {
            needm::world_stop stopped;
            CHECK(caught<needm::error>([] { needm::world_stop again; }).code() == needm::errc::already);
            stopped.each_m([&](const needm_m *m, void *sp, void *hi) {
                CHECK(m && sp < hi);
                shown++;
            });
        }
        CHECK_EQ(shown, 1);
        CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    });
}

static void a_runtime_ends_with_its_scope(void) {
    {
        needm::runtime runtime;
        CHECK(caught<needm::error>([] { needm::runtime again; }).code() == needm::errc::already);
        needm::callback([&] {
            CHECK(caught<needm::error>([&] { runtime.stop(); }).code() == needm::errc::busy);
        });
        runtime.stop();
    }
    CHECK(caught<needm::error>([] { needm::callback([] {}); }).code() == needm::errc::not_started);
    needm_config config = NEEDM_CONFIG_INIT;
    config.max_ms = 1;
    config.seed_ms = 2;
    CHECK(caught<needm::error>([&] { needm::runtime bad(config); }).code() == needm::errc::invalid);
    config.seed_ms = 1;
    needm::runtime runtime(config);
    {
        needm::attachment attached;
        CHECK(needm_self());
    }
    CHECK(!needm_self());
}

static void further_stacks_end_with_their_scope(void) {
    needm::runtime runtime;
    static char memory[65536];
    needm::callback([] {
        {
            needm::further_stack stack(memory + 4096, memory + sizeof memory);
            CHECK(caught<needm::error>([] { needm::further_stack bad(nullptr, memory); }).code() ==
                  needm::errc::invalid);
        }
        needm_stack old;
        CHECK_EQ(needm_enter_stack(memory + 8192, memory + sizeof memory, &old), 0);
        CHECK_EQ(needm_leave_stack(&old), 0);
    });
}

#ifndef _WIN32 /* no frame is unwound there */
static void threads_exit_through_callbacks(void) {
    needm::runtime runtime;
    static int count;
    for (int i = 0; i < rounds(100); i++) {
        count = 0;
        join(thread([](void *) -> void * {
            needm::callback([] {
                needm::defer one([] { count++; });
                needm::ccall([] { pthread_exit(nullptr); });
            });
            CHECK(!"reached");
            return nullptr;
        }, nullptr));
        CHECK_EQ(count, 1);
    }
}
#endif

/* What ends a callback in a catch block, or in a destructor while an exception is thrown. */
struct ends_in_its_destructor {
    void (*end)(void *);
    ~ends_in_its_destructor() { end(nullptr); }
};
static void in_a_catch_block(void (*end)(void *)) {
    try {
        throw 1;
    } catch (int) {
        end(nullptr);
    }
}
static void while_one_is_thrown(void (*end)(void *)) {
    try {
        ends_in_its_destructor one{end};
        throw 2;
    } catch (int) {
    }
}
static void exceptions_that_are_skipped_are_forgotten(void) {
    needm::runtime runtime;
    for (auto where : {in_a_catch_block, while_one_is_thrown})
        for (auto end : {fault, panic})
            for (int inside = 0; inside < 2; inside++) {
                try {
                    if (inside) throw std::runtime_error("around it");
                    throw 0;
                } catch (...) {
                    const auto around = std::current_exception();
                    CHECK(caught<needm::error>([=] { needm::callback([=] { where(end); }); }).ended_callback());
                    CHECK(std::current_exception() == around);
                    auto recovered = [=] {
                        needm::callback([=] {
                            needm::defer saves([] { needm::recover(); });
                            where(end);
                        });
                    };
                    CHECK(caught<needm::error>(recovered).code() == needm::errc::panic);
                    CHECK(std::current_exception() == around);
                    CHECK_EQ(std::uncaught_exceptions(), 0);
                }
                CHECK(!std::current_exception());
            }
}

int main() {
    RUN(results_come_back);
    RUN(exceptions_cross);
    RUN(endings_are_errors);
    RUN(exceptions_that_are_skipped_are_forgotten);
    RUN(deferred_functions_run_once);
    RUN(deferred_functions_that_fail_are_not_the_last);
    RUN(deferred_functions_belong_to_the_innermost_callback);
    RUN(interrupts_run_no_deferred_function_twice);
#ifndef _WIN32
    RUN(deferred_functions_of_fibers_run_once_at_their_ends);
#endif
    RUN(the_world_is_stopped_for_a_scope);
    RUN(a_runtime_ends_with_its_scope);
    RUN(further_stacks_end_with_their_scope);
#ifndef _WIN32
    RUN(threads_exit_through_callbacks);
#endif
    return SUCCESS;
}
