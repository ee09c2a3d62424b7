// Lists of tensors filled with random numbers.
#pragma once
#include <initializer_list>
#include <vector>

#include "core/ctx.h"
#include "core/rng.h"
#include "core/tensor.h"
#include "kernels/common/op_instance.h"

namespace adder::test {

// A pool and scratch memory for direct calls of an op.
struct Session {
    explicit Session(int threads) : pool(threads) {
        scratch.bind(1 << 16, true);
        ctx.pool = &pool;
        ctx.scratch = &scratch;
    }
    ThreadPool pool;
    Arena scratch;
    Ctx ctx;
};

// Standard normal, rounded to float; `key` tells tensors apart.
inline Tensor random_tensor(DType dtype, int64_t n, uint32_t key) {
    const Philox random(3, Stream::test);
    std::vector<double> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.normal(i, key));
    Tensor t(dtype, {n});
    set_values(t, values);
    return t;
}

inline constexpr int64_t kListSizes[] = {1, 15, 16, 17, 4095, 4097, 100003};

}  // namespace adder::test
