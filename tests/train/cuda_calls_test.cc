// A training step neither allocates nor waits for the device, but for a tile that it gave long before and for the upload
// of an earlier batch: every call that does is counted, whoever makes it (the linker redirects them here).
#include <gtest/gtest.h>

#include <cstddef>

#include "tests/model/toy.h"
#include "train/trainer.h"

namespace {
int allocations = 0, waits = 0, event_waits = 0;
}  // namespace

// As cuda_runtime_api.h declares them; its errors are an enum of the size of int. What nothing calls is counted in case
// something will.
extern "C" {
int __real_cudaMalloc(void** p, size_t bytes);
int __real_cudaMallocAsync(void** p, size_t bytes, void* stream);
int __real_cudaMallocHost(void** p, size_t bytes);
int __real_cudaHostAlloc(void** p, size_t bytes, unsigned flags);
int __real_cudaFree(void* p);
int __real_cudaFreeAsync(void* p, void* stream);
int __real_cudaFreeHost(void* p);
int __real_cudaDeviceSynchronize();
int __real_cudaStreamSynchronize(void* stream);
int __real_cudaEventSynchronize(void* event);
int __real_cudaMemcpy(void* to, const void* from, size_t bytes, int kind);

int __wrap_cudaMalloc(void** p, size_t bytes) { return ++allocations, __real_cudaMalloc(p, bytes); }
int __wrap_cudaMallocAsync(void** p, size_t bytes, void* stream) {
    return ++allocations, __real_cudaMallocAsync(p, bytes, stream);
}
int __wrap_cudaMallocHost(void** p, size_t bytes) { return ++allocations, __real_cudaMallocHost(p, bytes); }
int __wrap_cudaHostAlloc(void** p, size_t bytes, unsigned flags) {
    return ++allocations, __real_cudaHostAlloc(p, bytes, flags);
}
int __wrap_cudaFree(void* p) { return ++allocations, __real_cudaFree(p); }
int __wrap_cudaFreeAsync(void* p, void* stream) { return ++allocations, __real_cudaFreeAsync(p, stream); }
int __wrap_cudaFreeHost(void* p) { return ++allocations, __real_cudaFreeHost(p); }
int __wrap_cudaDeviceSynchronize() { return ++waits, __real_cudaDeviceSynchronize(); }
int __wrap_cudaStreamSynchronize(void* stream) { return ++waits, __real_cudaStreamSynchronize(stream); }
int __wrap_cudaEventSynchronize(void* event) { return ++event_waits, __real_cudaEventSynchronize(event); }
int __wrap_cudaMemcpy(void* to, const void* from, size_t bytes, int kind) {
    return ++waits, __real_cudaMemcpy(to, from, bytes, kind);
}
}

namespace adder {
namespace {

void fill(int64_t step, int64_t micro, Batch& batch) {
    copy_batch(next_token_batch(batch.B, batch.L, {0, 12}, static_cast<uint64_t>(100 * step + micro), 6), batch);
}

TEST(CudaCalls, a_step_allocates_nothing_and_does_not_wait_for_the_device) {
    if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
    Gpu gpu;
    ThreadPool pool(1);
    const Compute compute{Device::cuda, DType::bf16, &pool, &gpu};
    for (const std::string& mixer : model_names()) {
        ToyModel toy(mixer, compute.storage, 8, 2, Discretization::euler, compute.device);
        const int64_t L = 40 * toy.stride();
        const std::vector<MemoryPlan> plans{plan_training(toy.model, compute, {2, L, toy.tile(18), 1}),
                                            plan_training(toy.model, compute, {1, 2 * L, toy.tile(8), 0})};
        Trainer trainer(toy.model, toy.params, {}, compute, plans[0], plans);
        trainer.engine().set_verify(false);
        // The first step runs as it is, the second records graphs, later ones replay them; then a stage of a length warm-up
        // ends.
        for (int64_t step = 0; step < 10; ++step) {
            if (step == 5) {
                while (trainer.pending() > 0) trainer.collect();
                allocations = 0;
                trainer.configure(plans[1]);
                EXPECT_EQ(allocations, 0) << mixer << ": another stage";
            }
            allocations = waits = event_waits = 0;
            trainer.submit(step, 2, 1e-3, fill, true);
            // Of each of two batches every tile goes forward and back, the last as one, and one upload is waited for; two
            // where none was prepared.
            const int64_t n = plans[step < 5 ? 0 : 1].n_tiles, unprepared = step == 0 || step == 5;
            EXPECT_EQ(event_waits, 2 * (2 * n - 1) + 2 + unprepared) << mixer << " step " << step;
            EXPECT_EQ(allocations, 0) << mixer << " step " << step;
            EXPECT_EQ(waits, 0) << mixer << " step " << step;
            if (trainer.pending() < Trainer::kMostPending) continue;
            event_waits = 0;
            EXPECT_TRUE(trainer.collect().updated);
            EXPECT_EQ(allocations + waits, 0) << mixer << ": a collected step";
            EXPECT_EQ(event_waits, 1) << mixer << ": a collected step";
        }
        while (trainer.pending() > 0) trainer.collect();
        allocations = waits = event_waits = 0;
        copy(Tensor(DType::u8, {1}, Device::cuda), Tensor(DType::u8, {1}));
        EXPECT_EQ(allocations, 2) << "calls are not counted";
        EXPECT_GT(waits, 0) << "calls are not counted";
    }
}

}  // namespace
}  // namespace adder
