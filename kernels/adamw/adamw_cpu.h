// The SIMD twin of adamw_ref.h.
#pragma once
#include <span>

#include "core/threads.h"
#include "kernels/adamw/adamw.h"

namespace adder::cpu {

// Tensors of type T (float, double), checked.
template <class T>
void adamw(ThreadPool& pool, std::span<const AdamWTensor> tensors, const AdamWArgs& args);

// The constants of an update, rounded once from double.
template <class T>
struct AdamWConstants {
    T grad_scale, beta1, rest1, beta2, rest2;  // rest = 1 - beta
    T rate;                                    // lr / (1 - beta1^step)
    T unbias2;                                 // 1 / (1 - beta2^step)
    T eps;
};

}  // namespace adder::cpu
