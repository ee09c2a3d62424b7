// The cases of adamw.h: lists of up to three tensors; the second one does not decay.
#pragma once
#include <array>
#include <span>

#include "kernels/adamw/adamw.h"
#include "kernels/adamw/adamw_ref.h"
#include "kernels/common/op_case.h"

namespace adder {

struct AdamWProblem {
    static constexpr const char* op = "adamw";
    static constexpr bool sequence = false;
    static constexpr int kTensors = 3;

    struct Case {
        unsigned use;
        std::array<int64_t, kTensors> sizes;  // 0 = no such tensor
        int64_t step = 1;
        double grad_scale = 1;
        int64_t B = 1, L = 1;
    };

    // The list is cut in blocks of 32,768.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest, {1}},
            {kTest | kSanitize, {15, 16, 17}, 2, 0.25},
            {kTest | kSelftest, {1000, 1, 333}, 10, 3},
            {kTest | kSanitize, {4095, 28673, 5}, 7},
            {kTest, {32768, 32767, 2}, 3, 0.01},
            {kTest, {100003}, 100000},
            {kBench, {1 << 18, 1 << 18, 4096}, 10},
            {kBench, {3 << 20, 1 << 20, 4096}, 10},
            {kBenchCuda, {3 << 20, 1 << 19, 4096}, 10},
            {kBenchCuda, {64 << 20, 26 << 20, 4096}, 10},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("({}, {}, {}) step {}", c.sizes[0], c.sizes[1], c.sizes[2], c.step);
    }

    template <class F>
    static void for_tensors(const Case& c, F f) {
        for (int i = 0; i < kTensors && c.sizes[static_cast<size_t>(i)] > 0; ++i)
            f(std::to_string(i), Shape{c.sizes[static_cast<size_t>(i)]}, i != 1);
    }
    // The numbers before the update are no argument of the op, which finds them in its outputs.
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all;
        for_tensors(c, [&](const std::string& i, const Shape& n, bool) {
            all.push_back(ArraySpec::parameter("grad" + i, n));
            all.push_back(ArraySpec::parameter("old_param" + i, n).open(0));
            all.push_back(ArraySpec::parameter("old_m" + i, n).open(0));
            all.push_back(ArraySpec::parameter("old_v" + i, n).uniform(0, 1).open(0));
        });
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        std::vector<ArraySpec> all;
        for_tensors(c, [&](const std::string& i, const Shape& n, bool) {
            for (const char* name : {"param", "m", "v"})
                all.push_back(ArraySpec::parameter(name + i, n).starting_as("old_" + (name + i)));
        });
        return all;
    }

    static AdamWArgs args(const Case& c) {
        AdamWArgs a;
        a.lr = 0.01;
        a.step = c.step;
        a.grad_scale = c.grad_scale;
        return a;
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        for_tensors(c, [&](const std::string& i, const Shape&, bool decay) {
            ref::adamw<S>(a.template out<1>("param" + i), a.template in<1>("grad" + i),
                          a.template out<1>("m" + i), a.template out<1>("v" + i), decay, args(c));
        });
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        std::array<AdamWTensor, kTensors> list;
        size_t n = 0;
        for_tensors(c, [&](const std::string& i, const Shape&, bool decay) {
            list[n++] = {a["param" + i], a["grad" + i], a["m" + i], a["v" + i], decay};
        });
        adamw(ctx, std::span(list).first(n), args(c));
    }
};

}  // namespace adder
