// Measures a switch of stacks by Boost.Context, in and out: each thread has a fiber of its own, which
// is kept until the thread exits.
extern "C" {
#include "../measure.h"
}
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <memory>

namespace context = boost::context;

static thread_local std::unique_ptr<context::fiber> own;

static void call() {
    if (!own) {
        own.reset(new context::fiber(std::allocator_arg, context::protected_fixedsize_stack(256 * 1024),
            [](context::fiber &&caller) {
                for (;;) caller = std::move(caller).resume();
                return std::move(caller);
            }));
    }
    *own = std::move(*own).resume();
}

int main() {
    measure(call, nullptr);
    return 0;
}
