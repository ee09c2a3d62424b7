// Tasks are blocks of 32,768 elements of the concatenated list, whatever the thread count. Every element is
// on its own: 4 numbers are read and 3 written.
#include "kernels/adamw/adamw_cpu.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/ceil_div.h"
#include "kernels/common/tensor_list.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw/adamw_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

template <bool kTail, class T>
HWY_INLINE void update_part(T* param, const T* grad, T* m_, T* v_, T pull, const cpu::AdamWConstants<T>& c,
                            size_t n) {
    const hn::ScalableTag<T> d;
    const auto g = hn::Mul(load<kTail>(d, grad, n), hn::Set(d, c.grad_scale));
    const auto m = hn::MulAdd(hn::Set(d, c.beta1), load<kTail>(d, m_, n), hn::Mul(hn::Set(d, c.rest1), g));
    const auto v =
        hn::MulAdd(hn::Set(d, c.beta2), load<kTail>(d, v_, n), hn::Mul(hn::Mul(hn::Set(d, c.rest2), g), g));
    store<kTail>(m, d, m_, n);
    store<kTail>(v, d, v_, n);
    const auto size = hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, c.unbias2))), hn::Set(d, c.eps));
    const auto step = hn::Div(hn::Mul(m, hn::Set(d, c.rate)), size);
    const auto p = load<kTail>(d, param, n);
    // Both changes are added up before they meet the parameter, which is far larger: it is rounded once.
    store<kTail>(hn::Sub(p, hn::MulAdd(hn::Set(d, pull), p, step)), d, param, n);
}

// `pull`: lr weight_decay, or 0.
template <class T>
HWY_INLINE void update(T* param, const T* grad, T* m, T* v, T pull, const cpu::AdamWConstants<T>& c,
                       size_t n) {
    const size_t N = hn::Lanes(hn::ScalableTag<T>());
    size_t i = 0;
    for (; i + N <= n; i += N) update_part<false>(param + i, grad + i, m + i, v + i, pull, c, N);
    if (i < n) update_part<true>(param + i, grad + i, m + i, v + i, pull, c, n - i);
}

void update_f32(float* param, const float* grad, float* m, float* v, float pull,
                const cpu::AdamWConstants<float>& c, size_t n) {
    update(param, grad, m, v, pull, c, n);
}
void update_f64(double* param, const double* grad, double* m, double* v, double pull,
                const cpu::AdamWConstants<double>& c, size_t n) {
    update(param, grad, m, v, pull, c, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

namespace {

HWY_EXPORT(update_f32);
HWY_EXPORT(update_f64);

constexpr int64_t kBlock = 32768;

}  // namespace

template <class T>
void adamw(ThreadPool& pool, std::span<const AdamWTensor> tensors, const AdamWArgs& args) {
    const auto step = static_cast<double>(args.step);
    const AdamWConstants<T> c = {static_cast<T>(args.grad_scale),
                                 static_cast<T>(args.beta1),
                                 static_cast<T>(1 - args.beta1),
                                 static_cast<T>(args.beta2),
                                 static_cast<T>(1 - args.beta2),
                                 static_cast<T>(args.lr / (1 - std::pow(args.beta1, step))),
                                 static_cast<T>(1 / (1 - std::pow(args.beta2, step))),
                                 static_cast<T>(args.eps)};
    const T pull = static_cast<T>(args.lr * args.weight_decay);
    const auto run = [] {
        if constexpr (std::is_same_v<T, float>)
            return HWY_DYNAMIC_DISPATCH(update_f32);
        else
            return HWY_DYNAMIC_DISPATCH(update_f64);
    }();
    int64_t total = 0;
    for (const AdamWTensor& t : tensors) total += t.param.numel();
    pool.run(ceil_div(total, kBlock), [&](int64_t task) {
        const auto tensor = [&](int64_t i) -> const AdamWTensor& { return tensors[static_cast<size_t>(i)]; };
        for_pieces(
            static_cast<int64_t>(tensors.size()), task * kBlock, std::min(total, (task + 1) * kBlock),
            [&](int64_t i) { return tensor(i).param.numel(); },
            [&](int64_t i, int64_t from, int64_t to) {
                const AdamWTensor& t = tensor(i);
                AdamWConstants<T> own = c;
                own.rate *= static_cast<T>(t.rate);
                const T own_pull = t.decay ? pull * static_cast<T>(t.rate) : T(0);
                run(static_cast<T*>(t.param.data) + from, static_cast<const T*>(t.grad.data) + from,
                    static_cast<T*>(t.m.data) + from, static_cast<T*>(t.v.data) + from, own_pull, own,
                    static_cast<size_t>(to - from));
            });
    });
}

template void adamw<float>(ThreadPool&, std::span<const AdamWTensor>, const AdamWArgs&);
template void adamw<double>(ThreadPool&, std::span<const AdamWTensor>, const AdamWArgs&);

}  // namespace adder::cpu
#endif
