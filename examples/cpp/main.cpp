// A pool of threads. Each job runs as a callback of needm: an exception, a panic, a crash or an
// overflow in a job reaches the thread that waits for its result, and the thread goes on with the next job.
#include <needm.hpp>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

class Pool {
  public:
    explicit Pool(unsigned threads) {
        for (unsigned i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
    }
    ~Pool() {
        {
            std::lock_guard lock(mutex_);
            closing_ = true;
        }
        changed_.notify_all();
        for (auto &thread : threads_) thread.join();
    }
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    // Runs the job on one of the threads. The future has its result, its exception, or the
    // needm::error that has ended it.
    template <class F> auto submit(F job) {
        using R = decltype(job());
        auto promise = std::make_shared<std::promise<R>>();
        auto future = promise->get_future();
        std::lock_guard lock(mutex_);
        jobs_.push_back([promise, job = std::move(job)] {
            // Outside the callback, because a crash skips what is inside.
            try {
                promise->set_value(needm::callback(job));
            } catch (...) {
                promise->set_exception(std::current_exception());
            }
        });
        changed_.notify_one();
        return future;
    }

  private:
    void work() {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            auto job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> jobs_;
    bool closing_ = false;
    std::vector<std::thread> threads_;
};

static int parse(const std::string &text) {
    int *volatile null = nullptr;
    if (text == "crash") *static_cast<volatile int *>(null) = 1;
    if (text == "panic") needm_panic(nullptr);
    return std::stoi(text); // throws std::invalid_argument
}

int main() {
    needm::runtime runtime;
    int sum = 0, thrown = 0, crashed = 0, panicked = 0;
    {
        Pool pool(4);
        std::vector<std::future<int>> results;
        for (int i = 0; i < 100; i++)
            for (const char *text : {"1", "two", "crash", "panic"})
                results.push_back(pool.submit([text] { return parse(text); }));
        for (auto &result : results) {
            try {
                sum += result.get();
            } catch (const needm::error &error) {
                (error.code() == needm::errc::fault ? crashed : panicked)++;
            } catch (const std::invalid_argument &) {
                thrown++;
            }
        }
    }
    std::printf("sum %d, thrown %d, crashed %d, panicked %d\n", sum, thrown, crashed, panicked);
    return sum == 100 && thrown == 100 && crashed == 100 && panicked == 100 ? EXIT_SUCCESS : EXIT_FAILURE;
}
