#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/op_fill.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256, kItems = 16;

// Mapping: a block owns kThreads * kItems neighbouring elements, a thread every kThreads-th of them.
// Bytes moved: those of the tensor.
__global__ void __launch_bounds__(kThreads) fill_kernel(void* to, DType dtype, int64_t n, FillRule rule, int64_t first) {
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * (kThreads * kItems) + threadIdx.x;
    for (int k = 0; k < kItems; ++k) {
        const int64_t i = begin + k * kThreads;
        if (i >= n) return;
        const double value = fill_value(rule, static_cast<uint64_t>(first + i));
        switch (dtype) {
            case DType::f32: static_cast<float*>(to)[i] = static_cast<float>(value); break;
            case DType::bf16: static_cast<bf16*>(to)[i] = from_float<bf16>(static_cast<float>(value)); break;
            case DType::f64: static_cast<double*>(to)[i] = value; break;
            case DType::i64: static_cast<int64_t*>(to)[i] = static_cast<int64_t>(value); break;
            case DType::u16: static_cast<uint16_t*>(to)[i] = static_cast<uint16_t>(value); break;
            case DType::u8: static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(value); break;
            case DType::none: break;
        }
    }
}

}  // namespace

void fill(Gpu& gpu, const TensorRef& t, const FillRule& rule, int64_t first) {
    CHECK(t.contiguous() && t.device == Device::cuda);
    const dim3 grid(blocks(ceil_div(t.numel(), kThreads * kItems)));
    launch(gpu.stream(), grid, dim3(kThreads), 0, fill_kernel, t.data, t.dtype, t.numel(), rule, first);
}

}  // namespace adder::cuda
