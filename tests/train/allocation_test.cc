// Counts every heap allocation of the process, whoever makes it: between two steps there must be none.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "tests/model/toy.h"
#include "train/trainer.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ADDER_COUNTS_ALLOCATIONS 1
#else
#define ADDER_COUNTS_ALLOCATIONS 0
#endif

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> count{0};
}  // namespace

#if ADDER_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static void note() {
    if (counting.load(std::memory_order_relaxed)) count.fetch_add(1, std::memory_order_relaxed);
}
void* malloc(size_t n) {
    note();
    return __libc_malloc(n);
}
void* calloc(size_t n, size_t size) {
    note();
    return __libc_calloc(n, size);
}
void* realloc(void* p, size_t n) {
    note();
    return __libc_realloc(p, n);
}
void* aligned_alloc(size_t align, size_t n) {
    note();
    return __libc_memalign(align, n);
}
}
#endif

namespace adder {
namespace {

TEST(Allocation, none_between_the_second_and_the_third_step) {
    if (!ADDER_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers bring an allocator of their own";
    for (const std::string& mixer : mixer_names()) {
        ToyModel toy(mixer, DType::f32, 32);
        ThreadPool pool(2);
        const MemoryPlan plan = plan_training(toy.model, DType::f32, {2, 600, 256, 1});
        Trainer trainer(toy.model, toy.params, {}, pool, plan);
        const Batch data = toy_batch(2, 600, {0, 99});
        const FillBatch fill = [&](int64_t, int64_t, Batch& batch) {
            copy(data.ids, batch.ids);
            copy(data.targets, batch.targets);
            copy(data.weights, batch.weights);
        };
        trainer.step(0, 1, 1e-3, fill);
        trainer.step(1, 1, 1e-3, fill);
        count = 0;
        counting = true;
        trainer.step(2, 1, 1e-3, fill);
        counting = false;
        EXPECT_EQ(count.load(), 0) << mixer;
        counting = true;
        void* volatile p = std::malloc(1);
        std::free(p);
        counting = false;
        EXPECT_EQ(count.load(), 1) << "the hook does not count";
    }
}

}  // namespace
}  // namespace adder
