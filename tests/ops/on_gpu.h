// A GPU and scratch memory on it for direct calls of ops.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/ctx.h"
#include "core/device.h"
#include "kernels/common/op_instance.h"

namespace adder::test {

// Skips where there is no GPU.
class OnGpu : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu = std::make_unique<Gpu>();
        scratch.bind(int64_t{64} << 20);
        ctx.device = Device::cuda;
        ctx.gpu = gpu.get();
        ctx.scratch = &scratch;
    }
    RunOn on(DType storage) const { return {.storage = storage, .device = Device::cuda, .gpu = gpu.get()}; }

    std::unique_ptr<Gpu> gpu;
    Arena scratch{Device::cuda, "scratch"};
    Ctx ctx;
};

// `values` in memory of the GPU.
inline Tensor on_gpu(DType dtype, const Shape& shape, const std::vector<double>& values) {
    Tensor host(dtype, shape), device(dtype, shape, Device::cuda, "a test");
    set_values(host, values);
    copy(host, device);
    return device;
}
inline std::vector<double> from_gpu(const TensorRef& t) {
    Tensor host(t.dtype, t.shape);
    copy(t, host);
    return values_of(host);
}
// One plain struct in memory of the GPU, as ops take it.
template <class T>
Tensor struct_on_gpu(const T& value) {
    Tensor device(DType::u8, {static_cast<int64_t>(sizeof(T))}, Device::cuda, "a test");
    copy_bytes(device.ref().data, &value, sizeof(T));
    return device;
}
template <class T>
T struct_from_gpu(const TensorRef& t) {
    T value;
    copy_bytes(&value, t.data, sizeof(T));
    return value;
}

}  // namespace adder::test
