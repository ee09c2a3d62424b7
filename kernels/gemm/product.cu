// Products by cuBLASLt. What it needs to know about a product is worked out once per sizes, strides, types and alignment
// and kept with the Gpu, so that every later call, and every replay of a graph, runs the same algorithm.
//
// cuBLASLt stores matrices column major: C^T = B^T A^T, so its first factor is our B and its columns are our rows.
#include "kernels/gemm/product.cuh"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>

#include "kernels/common/launch.cuh"
#include "kernels/gemm/gemm_plan.h"

namespace adder::cuda {

namespace {

void check(cublasStatus_t status, const char* what) {
    if (status == CUBLAS_STATUS_ALLOC_FAILED) out_of_gpu_memory(fmt::format("cuBLASLt: {}", what));
    if (status != CUBLAS_STATUS_SUCCESS)
        fail<DeviceError>("cuBLASLt: {}: {}", what, cublasLtGetStatusString(status));
}

template <auto destroy>
struct Destroy {
    template <class T>
    void operator()(T* p) const {
        destroy(p);
    }
};
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

// Everything that the choice of an algorithm depends on.
using Key = std::array<int64_t, 18>;
struct HashKey {
    size_t operator()(const Key& key) const {
        uint64_t h = 14695981039346656037u;  // FNV-1a, a word at a time
        for (int64_t word : key) h = (h ^ static_cast<uint64_t>(word)) * 1099511628211u;
        return static_cast<size_t>(h ^ (h >> 29));
    }
};

struct Plan {
    Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation;
    Layout a, b, c;  // ours
    cublasLtMatmulAlgo_t algorithm{};
    bool found = false;  // false: cuBLASLt has nothing for this product
};

struct Blas {
    Owned<cublasLtHandle_t, cublasLtDestroy> handle;
    std::unordered_map<Key, Plan, HashKey> plans;
};

constexpr int kSlot = 0;  // of Gpu::library

Blas& blas_of(Gpu& gpu) {
    std::shared_ptr<void>& slot = gpu.library(kSlot);
    if (!slot) {
        auto blas = std::make_shared<Blas>();
        cublasLtHandle_t handle = nullptr;
        check(cublasLtCreate(&handle), "start");
        blas->handle.reset(handle);
        slot = std::move(blas);
    }
    return *static_cast<Blas*>(slot.get());
}

// No kernel asks for more than the 16 bytes of a vector load or a bulk copy.
uint32_t alignment_of(const void* p) {
    const auto at = reinterpret_cast<uintptr_t>(p);
    return static_cast<uint32_t>(std::min<uintptr_t>(at & (~at + 1), 16));
}

Key key_of(const Product& p) {
    return {p.M,
            p.N,
            p.K,
            p.batch,
            p.a.ld,
            p.b.ld,
            p.ldc,
            p.a.transposed,
            p.b.transposed,
            p.a.batch_stride,
            p.b.batch_stride,
            p.c_batch_stride,
            static_cast<int64_t>(p.in),
            static_cast<int64_t>(p.out),
            p.add,
            alignment_of(p.a.data),
            alignment_of(p.b.data),
            alignment_of(p.c)};
}

cudaDataType_t type_of(DType t) { return t == DType::f32 ? CUDA_R_32F : CUDA_R_16BF; }

// Of a matrix that is stored with `rows` rows of `row` neighbouring elements.
Layout layout_of(DType type, int64_t rows, int64_t row, int64_t ld, int64_t batch, int64_t batch_stride) {
    cublasLtMatrixLayout_t raw = nullptr;
    check(cublasLtMatrixLayoutCreate(&raw, type_of(type), static_cast<uint64_t>(row), static_cast<uint64_t>(rows),
                                     std::max(ld, row)),
          "describing a matrix");
    Layout layout(raw);
    if (batch == 1) return layout;
    const auto count = static_cast<int32_t>(batch);
    check(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)),
          "describing a batch");
    check(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride,
                                           sizeof(batch_stride)),
          "describing a batch");
    return layout;
}

Layout layout_of(DType type, const Factor& f, int64_t rows, int64_t columns, int64_t batch) {
    if (f.transposed) std::swap(rows, columns);
    return layout_of(type, rows, columns, f.ld, batch, f.batch_stride);
}

void find_algorithm(Blas& blas, const Product& p, Plan& plan) {
    cublasLtMatmulPreference_t raw = nullptr;
    check(cublasLtMatmulPreferenceCreate(&raw), "a preference");
    const Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference(raw);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
        check(cublasLtMatmulPreferenceSetAttribute(raw, what, &value, sizeof(value)), "a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kProductWorkspaceBytes));
    // Split sums are not for every algorithm added in one order.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.b.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.a.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.c));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.c));
    cublasLtMatmulHeuristicResult_t best{};
    int n = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(blas.handle.get(), plan.operation.get(), plan.b.get(), plan.a.get(),
                                       plan.c.get(), plan.c.get(), raw, 1, &best, &n);
    plan.found = status == CUBLAS_STATUS_SUCCESS && n > 0 && best.state == CUBLAS_STATUS_SUCCESS;
    plan.algorithm = best.algo;
}

Plan make_plan(Blas& blas, const Product& p) {
    Plan plan;
    cublasLtMatmulDesc_t operation = nullptr;
    // CUBLAS_COMPUTE_32F multiplies f32 as f32; TF32 would be CUBLAS_COMPUTE_32F_FAST_TF32.
    check(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    plan.operation.reset(operation);
    const cublasOperation_t first = p.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = p.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first)), "transposing");
    check(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second)), "transposing");
    plan.a = layout_of(p.in, p.a, p.M, p.K, p.batch);
    plan.b = layout_of(p.in, p.b, p.K, p.N, p.batch);
    plan.c = layout_of(p.out, p.M, p.N, p.ldc, p.batch, p.c_batch_stride);
    find_algorithm(blas, p, plan);
    return plan;
}

// Elements from the first to the last row of one matrix: offsets inside a product stay below 2^31.
constexpr int64_t kLargestSpan = (int64_t{1} << 31) - 1;

int64_t span(const Factor& f, int64_t rows, int64_t columns) { return (f.transposed ? columns : rows) * f.ld; }

void multiply_part(Ctx& ctx, const Product& p, void* workspace) {
    const cudaStream_t stream = ctx.gpu->stream();
    const bool backwards = std::min({p.a.ld, p.b.ld, p.ldc}) < 0;
    if (backwards || std::max({span(p.a, p.M, p.K), span(p.b, p.K, p.N), p.M * p.ldc}) > kLargestSpan)
        return multiply_plainly(stream, p);
    Blas& blas = blas_of(*ctx.gpu);
    const Key key = key_of(p);
    auto at = blas.plans.find(key);
    if (at == blas.plans.end()) at = blas.plans.emplace(key, make_plan(blas, p)).first;
    const Plan& plan = at->second;
    if (!plan.found) return multiply_plainly(stream, p);
    const float one = 1, beta = p.add ? 1 : 0;
    check(cublasLtMatmul(blas.handle.get(), plan.operation.get(), &one, p.b.data, plan.b.get(), p.a.data, plan.a.get(),
                         &beta, p.c, plan.c.get(), p.c, plan.c.get(), &plan.algorithm, workspace,
                         static_cast<size_t>(kProductWorkspaceBytes), stream),
          "product");
}

}  // namespace

void multiply(Ctx& ctx, const Product& p, void* workspace) {
    if (p.M == 0 || p.N == 0 || p.batch == 0) return;
    // Long runs of rows are cut; what is still too wide has 64-bit offsets in the plain kernel.
    const int64_t stride = std::max({p.a.transposed ? 1 : p.a.ld, p.ldc, int64_t{1}});
    const int64_t most = std::max<int64_t>(kLargestSpan / stride / 256 * 256, 256);
    for (int64_t m = 0; m < p.M; m += most) {
        Product part = p;
        part.M = std::min(most, p.M - m);
        part.a.data = static_cast<const char*>(p.a.data) + m * (p.a.transposed ? 1 : p.a.ld) * size_of(p.in);
        part.c = static_cast<char*>(p.c) + m * p.ldc * size_of(p.out);
        multiply_part(ctx, part, workspace);
    }
}

}  // namespace adder::cuda
