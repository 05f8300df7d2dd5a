/* SPDX-License-Identifier: MIT OR Apache-2.0 */
// needm for C++17: needm.h with RAII, and with exceptions instead of codes. Header only; link with
// libneedm.a or libneedm.so and -pthread.
//
//     needm::runtime runtime;                           // started; stopped at the end of the scope
//     int sum = needm::callback([&] { return add(1, 2); });   // on this thread's G
//
// An exception that leaves the function of needm::callback or needm::ccall is carried across the
// boundary, as std::exception_ptr, and goes on on the other stack. A panic, a hardware fault, an
// overflow or an interrupt (needm_interrupt) that ends a callback is thrown in its caller, as
// needm::error.
//
// These four skip the frames of the callback as longjmp does: no destructor in them runs, except
// that of needm::defer. So where one may happen, hold what must be released by needm::defer, and
// hold no lock. An exception that was being handled there, or thrown, is lost; afterwards
// std::current_exception() and std::uncaught_exceptions() are what they were before the callback.
//
// pthread_exit and cancellation pass through callbacks; destructors run, and the callbacks end.
#ifndef NEEDM_HPP
#define NEEDM_HPP

#include "needm.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#if __has_include(<cxxabi.h>)
#include <cxxabi.h> // abi::__forced_unwind, abi::__cxa_get_globals
#endif

// libc++abi has it, but does not declare it.
#if defined(__GLIBCXX__)
#define NEEDM_HAS_EH_GLOBALS 1
#elif defined(_LIBCPPABI_VERSION)
#define NEEDM_HAS_EH_GLOBALS 1
namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals *__cxa_get_globals();
} // namespace __cxxabiv1
#else
#define NEEDM_HAS_EH_GLOBALS 0
#endif

namespace needm {

// The errors of needm.h.
enum class errc : int {
    not_started = NEEDM_ENOTSTARTED,
    already = NEEDM_EALREADY,
    invalid = NEEDM_EINVAL,
    no_memory = NEEDM_ENOMEM,
    timed_out = NEEDM_ETIMEDOUT,
    busy = NEEDM_EBUSY,
    panic = NEEDM_EPANIC,
    fault = NEEDM_EFAULT,
    overflow = NEEDM_EOVERFLOW,
    system = NEEDM_ESYS,
    interrupted = NEEDM_EINTERRUPTED,
};

namespace detail {
class error_category final : public std::error_category {
  public:
    const char *name() const noexcept override { return "needm"; }
    std::string message(int code) const override { return needm_strerror(code); }
};
} // namespace detail

// The category of their std::error_code.
inline const std::error_category &category() noexcept {
    static const detail::error_category one;
    return one;
}
inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

} // namespace needm

template <> struct std::is_error_code_enum<needm::errc> : std::true_type {};

namespace needm {

// What functions here throw: code() is the error. If a callback has ended without returning,
// ended_callback() is true, and info() says why.
class error : public std::system_error {
  public:
    explicit error(int code) : std::system_error(code, category()) {}
    error(int code, const needm_panic_info &info)
        : std::system_error(code, category()), info_(info) {}

    bool ended_callback() const noexcept { return info_.kind != 0; }
    const needm_panic_info &info() const noexcept { return info_; }

  private:
    needm_panic_info info_ = NEEDM_PANIC_INFO_INIT;
};

namespace detail {

inline void check(int code) {
    if (code != 0) throw error(code);
}

// What the C++ runtime notes of this thread's exceptions: those that are being handled, and how many are
// uncaught (__cxa_eh_globals: Itanium C++ ABI, Exception Handling, 2.2.2; on ARM also those that are passing
// through cleanups: Exception Handling ABI for the Arm Architecture, 8.4.1). What skips a catch block or an
// unwinding leaves that as it was there.
class exception_state {
  public:
    exception_state() noexcept : noted_(current()) {}
    exception_state(const exception_state &) = delete;
    exception_state &operator=(const exception_state &) = delete;

    // The exceptions of the frames that were skipped are lost.
    void put_back() const noexcept {
#if NEEDM_HAS_EH_GLOBALS
        std::memcpy(__cxxabiv1::__cxa_get_globals(), &noted_, sizeof noted_);
#endif
    }

  private:
    struct globals {
        void *caught;
        unsigned uncaught;
#if defined(__arm__)
        void *propagating;
#endif
    };
    static globals current() noexcept {
        globals now{};
#if NEEDM_HAS_EH_GLOBALS
        std::memcpy(&now, __cxxabiv1::__cxa_get_globals(), sizeof now);
#endif
        return now;
    }

    const globals noted_;
};

// The result of a function, or nothing.
template <class R> class result {
  public:
    template <class F> void set(F &function) { value_.emplace(function()); }
    R take() { return std::move(*value_); }

  private:
    std::optional<R> value_;
};
template <class R> class result<R &> {
  public:
    template <class F> void set(F &function) { value_ = std::addressof(function()); }
    R &take() { return *value_; }

  private:
    R *value_ = nullptr;
};
template <> class result<void> {
  public:
    template <class F> void set(F &function) { function(); }
    void take() {}
};

// One call of a function across a boundary, in the frame of the caller.
template <class F> class invocation {
    using R = std::invoke_result_t<F &>;

  public:
    explicit invocation(F &function) noexcept : function_(function) {}

    R callback() {
        needm_panic_info info = NEEDM_PANIC_INFO_INIT;
        const exception_state exceptions;
        const int code = needm_callback(start, this, 0, &info);
        if (info.kind != 0 || (code == 0 && !returned_ && !exception_)) exceptions.put_back();
        if (code == 0) return finish();
        if (info.kind != 0) throw error(code, info);
        throw error(code);
    }
    R ccall() {
        check(needm_ccall(start, this));
        return finish();
    }

  private:
    static void start(void *self) { static_cast<invocation *>(self)->run(); }

    void run() {
        try {
            result_.set(function_);
            returned_ = true;
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw; // the thread exits; this is not to be stopped
        }
#endif
        catch (...) {
            exception_ = std::current_exception();
        }
    }
    R finish() {
        if (exception_) std::rethrow_exception(std::move(exception_));
        if (!returned_) throw error(NEEDM_EPANIC); // recovered: there is no result
        return result_.take();
    }

    F &function_;
    result<R> result_;
    std::exception_ptr exception_;
    bool returned_ = false;
};

} // namespace detail

// needm is started while this lives. Not in a handler.
class runtime {
  public:
    // All defaults.
    runtime() { detail::check(needm_start(nullptr)); }
    // As `config` says: NEEDM_CONFIG_INIT, and what is set in it.
    explicit runtime(const needm_config &config) { detail::check(needm_start(&config)); }
    // Stops needm. If it refuses (callbacks run, or the world is stopped), needm stays started; call
    // stop() to be told so.
    ~runtime() {
        if (started_) (void)needm_stop();
    }
    runtime(const runtime &) = delete;
    runtime &operator=(const runtime &) = delete;

    // Stops it now. Throws needm::error, and then it is still started.
    void stop() {
        detail::check(needm_stop());
        started_ = false;
    }

  private:
    bool started_ = true;
};

// Runs function() on this thread's G, and returns what it returns. An exception goes on in the
// caller. Throws needm::error if the callback was refused, or was ended by a panic, a fault, an
// overflow or an interrupt; with errc::panic and no info, if such an end was recovered.
template <class F> std::invoke_result_t<std::decay_t<F> &> callback(F &&function) {
    std::decay_t<F> kept(std::forward<F>(function));
    return detail::invocation<std::decay_t<F>>(kept).callback();
}

// From a callback: runs function() on the thread's own stack. A stop of the world does not wait for
// it. An exception goes on in the callback. Throws needm::error off a G.
template <class F> std::invoke_result_t<std::decay_t<F> &> ccall(F &&function) {
    std::decay_t<F> kept(std::forward<F>(function));
    return detail::invocation<std::decay_t<F>>(kept).ccall();
}

// Runs a function at the end of its scope, also where a panic, a fault or an overflow that ends the
// innermost callback skips the scope, or an interrupt does. Then it runs as a deferred function (needm_defer_push), the
// last one first, and may call needm::recover. An object of automatic storage; the function must not throw.
//
// It is skipped with the scope if more than 1024 deferred functions are pending on the G (on 32 bits 2048).
// In needm::ccall of one of several fibers it may belong to another fiber's callback, which is the innermost
// one of the thread, and runs at the end of that, if its scope has not ended before. So use none there if the
// fiber's own callback may be ended in its scope.
//
//     needm::defer close([&] { ::close(file); });
template <class F> class [[nodiscard]] defer {
  public:
    // needm gets it when it is complete: a fault or an interrupt may come at any instruction.
    explicit defer(F function) : function_(std::move(function)) {
        pending_ = needm_defer_push(&record_, skipped, this) == 0;
    }
    // It is taken back last, because an interrupt may come before the function begins.
    ~defer() {
        run();
        if (pending_) (void)needm_defer_pop(&record_);
    }
    defer(const defer &) = delete;
    defer &operator=(const defer &) = delete;

  private:
    static void skipped(void *self) noexcept { static_cast<defer *>(self)->run(); }

    // Once.
    void run() noexcept {
        if (begun_) return;
        begun_ = true;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        function_();
    }

    F function_;
    bool begun_ = false;
    bool pending_ = false;
    needm_defer record_ = {};
};

// In a deferred function: stops the panic that runs it. The callback then has no result, and
// needm::callback throws errc::panic with no info. What it was; nothing if there is none.
inline std::optional<needm_panic_info> recover() {
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    if (needm_recover(&info) == 0) return std::nullopt;
    return info;
}

// The world is stopped while this lives: no callback code runs but this thread's own. Take no lock
// around it that callbacks wait for. If the callback that it was made in is ended by a fault or a panic, the
// world is started: one that lives elsewhere must be gone before this thread stops the world again.
class [[nodiscard]] world_stop {
  public:
    world_stop() { detail::check(needm_stop_the_world()); }
    ~world_stop() { (void)needm_start_the_world(); }
    world_stop(const world_stop &) = delete;
    world_stop &operator=(const world_stop &) = delete;

    // Calls visit(m, sp, hi) for each stack of each M with callbacks under way: needm_each_m. The visit
    // must not throw.
    template <class F> void each_m(F &&visit) const {
        using V = std::remove_reference_t<F>;
        detail::check(needm_each_m(
            [](const needm_m *m, void *sp, void *hi, void *arg) noexcept -> int {
                (*static_cast<V *>(arg))(m, sp, hi);
                return 0;
            },
            const_cast<void *>(static_cast<const void *>(std::addressof(visit)))));
    }
};

// The running callback continues on [lo, hi) while this lives: needm_enter_stack.
class [[nodiscard]] further_stack {
  public:
    further_stack(void *lo, void *hi) { detail::check(needm_enter_stack(lo, hi, &old_)); }
    ~further_stack() { (void)needm_leave_stack(&old_); }
    further_stack(const further_stack &) = delete;
    further_stack &operator=(const further_stack &) = delete;

  private:
    needm_stack old_ = {};
};

// This thread has an M while this lives: needm_attach, needm_detach.
class [[nodiscard]] attachment {
  public:
    attachment() { detail::check(needm_attach()); }
    ~attachment() { (void)needm_detach(); }
    attachment(const attachment &) = delete;
    attachment &operator=(const attachment &) = delete;
};

} // namespace needm

#endif
