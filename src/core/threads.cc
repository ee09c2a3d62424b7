#include "core/threads.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"

namespace adder {

struct ThreadPool::Impl {
    std::mutex mutex;
    std::condition_variable wake, done;
    std::vector<std::thread> workers;
    const TaskRef* task = nullptr;
    int64_t n_tasks = 0;
    std::atomic<int64_t> next{0};
    int64_t generation = 0;
    int busy = 0;
    bool stop = false;
    std::exception_ptr error;

    void drain(const TaskRef& t, int64_t n) {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) {
            try {
                t(i);
            } catch (...) {
                std::lock_guard lock(mutex);
                if (!error) error = std::current_exception();
            }
        }
    }

    void join() {
        {
            std::lock_guard lock(mutex);
            stop = true;
        }
        wake.notify_all();
        for (auto& w : workers) w.join();
    }

    void work() {
        int64_t seen = 0;
        std::unique_lock lock(mutex);
        for (;;) {
            wake.wait(lock, [&] { return stop || generation != seen; });
            if (stop) return;
            seen = generation;
            const TaskRef* t = task;
            const int64_t n = n_tasks;
            lock.unlock();
            drain(*t, n);
            lock.lock();
            if (--busy == 0) done.notify_one();
        }
    }
};

ThreadPool::ThreadPool(int n) : impl_(std::make_unique<Impl>()) {
    CHECK(n >= 1);
    int i = 1;
    try {
        for (; i < n; ++i) impl_->workers.emplace_back([this] { impl_->work(); });
    } catch (const std::exception& e) {  // of the thread, or of the memory that says so
        impl_->join();
        fail("thread {} of {} cannot be started: {}; hint: a lower --threads, or a higher limit (ulimit -u, ulimit -v)",
             i + 1, n, e.what());
    }
}

ThreadPool::~ThreadPool() { impl_->join(); }

int ThreadPool::size() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::run(int64_t n_tasks, TaskRef task) {
    Impl& p = *impl_;
    if (n_tasks <= 1 || p.workers.empty()) {
        for (int64_t i = 0; i < n_tasks; ++i) task(i);
        return;
    }
    {
        std::lock_guard lock(p.mutex);
        p.task = &task;
        p.n_tasks = n_tasks;
        p.next.store(0, std::memory_order_relaxed);
        p.busy = static_cast<int>(p.workers.size());
        ++p.generation;
    }
    p.wake.notify_all();
    p.drain(task, n_tasks);
    std::unique_lock lock(p.mutex);
    p.done.wait(lock, [&] { return p.busy == 0; });
    if (p.error) std::rethrow_exception(std::exchange(p.error, nullptr));
}

}  // namespace adder
