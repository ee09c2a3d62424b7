// One matrix product, or a batch of equal ones: C = A B or C += A B with A (M x K), B (K x N), C (M x N), all row major.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "core/ctx.h"

namespace adder::cuda {

struct Factor {
    const void* data = nullptr;
    int64_t ld = 0;           // elements from row to row of what is stored
    bool transposed = false;  // stored is the transpose: A as (K x M), B as (N x K)
    int64_t batch_stride = 0;
};

struct Product {
    DType in = DType::f32, out = DType::f32;  // of A and B; of C: f32, or as `in`
    int64_t M = 0, N = 0, K = 0;
    Factor a, b;
    void* c = nullptr;
    int64_t ldc = 0;
    bool add = false;
    int64_t batch = 1, c_batch_stride = 0;
};

// Sums are f32 and their order depends on sizes, strides, types and alignment alone. workspace: kProductWorkspaceBytes.
void multiply(Ctx& ctx, const Product& p, void* workspace);
// By the kernel that takes any strides, on FMA units: for what cuBLASLt refuses.
void multiply_plainly(cudaStream_t stream, const Product& p);

}  // namespace adder::cuda
