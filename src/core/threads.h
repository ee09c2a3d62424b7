// A pool that runs numbered tasks. Which thread runs a task never decides what the task computes: work is cut by shape,
// so results have the same bits at any thread count.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace adder {

// Non-owning reference to a callable void(int64_t task); the callable outlives the call.
class TaskRef {
  public:
    template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TaskRef>>>
    TaskRef(F&& f)
        : object_(const_cast<void*>(static_cast<const void*>(&f))),
          call_([](void* o, int64_t i) { (*static_cast<std::remove_reference_t<F>*>(o))(i); }) {}
    void operator()(int64_t task) const { call_(object_, task); }

  private:
    void* object_;
    void (*call_)(void*, int64_t);
};

class ThreadPool {
  public:
    // `n` >= 1 threads, the calling one included. Throws Error, and leaves none running, where they cannot be started.
    explicit ThreadPool(int n);
    ~ThreadPool();
    int size() const;

    // Runs task(0) .. task(n_tasks - 1), each once, in any order, and returns when all are done. Not re-entrant: a task
    // must not call run. The first exception thrown by a task is rethrown here after all tasks ended.
    void run(int64_t n_tasks, TaskRef task);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
