// The cases of grad_norm.h: lists of up to three tensors.
#pragma once
#include <array>
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/grad_norm/grad_norm_ref.h"

namespace adder {

struct GradNormProblem {
    static constexpr const char* op = "grad_norm";
    static constexpr bool sequence = false;
    static constexpr int kTensors = 3;

    struct Case {
        unsigned use;
        std::array<int64_t, kTensors> sizes;  // 0 = no such tensor
        int64_t B = 1, L = 1;
    };

    // The list is cut in blocks of 16,384.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest, {1}},
            {kTest | kSanitize, {15, 16, 17}},
            {kTest | kSelftest, {1000, 1, 333}},
            {kTest | kSanitize, {4095, 12289, 5}},
            {kTest, {16384, 16383, 2}},
            {kTest, {100003}},
            {kBench, {1 << 20, 1 << 20, 4096}},
            {kBench, {1 << 23, 1 << 23, 4096}},
            {kBenchCuda, {3 << 20, 1 << 19, 4096}},
            {kBenchCuda, {64 << 20, 26 << 20, 4096}},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("({}, {}, {})", c.sizes[0], c.sizes[1], c.sizes[2]);
    }

    template <class F>
    static void for_tensors(const Case& c, F f) {
        for (int i = 0; i < kTensors && c.sizes[static_cast<size_t>(i)] > 0; ++i)
            f(std::to_string(i), Shape{c.sizes[static_cast<size_t>(i)]});
    }
    // Any shape is right.
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all;
        for_tensors(c, [&](const std::string& i, const Shape& n) {
            all.push_back(ArraySpec::parameter("grad" + i, n).open(0));
        });
        return all;
    }
    // The value that the op returns.
    static std::vector<ArraySpec> outputs(const Case&) {
        return {ArraySpec::parameter("sum_of_squares", {1}).of(DType::f64).open(0)};
    }

    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        S& sum = a.template out<1>("sum_of_squares")(0);
        sum = S(0);
        for_tensors(c, [&](const std::string& i, const Shape&) {
            sum += ref::sum_of_squares<S>(a.template in<1>("grad" + i));
        });
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        std::array<TensorRef, kTensors> list;
        size_t n = 0;
        for_tensors(c, [&](const std::string& i, const Shape&) { list[n++] = a["grad" + i]; });
        const GradNorm norm = grad_norm(ctx, std::span(list).first(n));
        if (ctx.dry_run) return;
        double sum = norm.sum_of_squares;
        copy(TensorRef(&sum, DType::f64, {1}), a["sum_of_squares"]);
    }
};

}  // namespace adder
