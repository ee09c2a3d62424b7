#include "kernels/adamw/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/ops/tensor_list.h"

namespace adder {
namespace {

// Parameters and moments of all sizes, made anew from the same numbers.
struct List {
    explicit List(DType dtype) {
        uint32_t key = 0;
        for (const int64_t n : test::kListSizes) {
            for (int i = 0; i < 4; ++i) memory.push_back(test::random_tensor(dtype, n, key++));
            const auto at = [this](size_t back) { return memory[memory.size() - back].ref(); };
            std::vector<double> v = values_of(at(1));
            for (double& x : v) x *= x;
            set_values(at(1), v);
            tensors.push_back({at(4), at(3), at(2), at(1), tensors.size() % 2 == 0});
        }
    }
    std::vector<std::vector<unsigned char>> bytes() const {
        std::vector<std::vector<unsigned char>> all;
        for (const Tensor& t : memory) all.push_back(bytes_of(t));
        return all;
    }
    std::vector<Tensor> memory;
    std::vector<AdamWTensor> tensors;
};

class AdamW : public testing::TestWithParam<DType> {};

// The formula of Loshchilov & Hutter in plain double, over several steps.
TEST_P(AdamW, follows_the_formula_over_steps) {
    List list(GetParam());
    const List start(GetParam());
    test::Session session(2);
    const double lr = 3e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1, scale = 0.125;
    for (size_t k = 0; k < list.tensors.size(); ++k) list.tensors[k].rate = k % 2 ? 0.25 : 1;
    for (int64_t step = 1; step <= 3; ++step)
        adamw(session.ctx, list.tensors, {lr, beta1, beta2, eps, decay, step, scale});
    const double tolerance = GetParam() == DType::f32 ? 3e-6 : 1e-14;
    for (size_t k = 0; k < list.tensors.size(); ++k) {
        const AdamWTensor& t = start.tensors[k];
        const auto p = values_of(t.param), g = values_of(t.grad), m0 = values_of(t.m), v0 = values_of(t.v);
        const auto p1 = values_of(list.tensors[k].param), m1 = values_of(list.tensors[k].m),
                   v1 = values_of(list.tensors[k].v);
        const double own_lr = lr * list.tensors[k].rate;
        double worst = 0;
        for (size_t i = 0; i < p.size(); ++i) {
            double x = p[i], m = m0[i], v = v0[i];
            for (int step = 1; step <= 3; ++step) {
                const double scaled = g[i] * scale;
                m += (1 - beta1) * (scaled - m);
                v += (1 - beta2) * (scaled * scaled - v);
                if (t.decay) x *= 1 - own_lr * decay;
                const double m_hat = m / (1 - std::pow(beta1, step)), v_hat = v / (1 - std::pow(beta2, step));
                x -= own_lr * m_hat / (std::sqrt(v_hat) + eps);
            }
            const double size = std::abs(p[i]) + std::abs(x - p[i]) + 1e-3;
            worst = std::max({worst, std::abs(p1[i] - x) / size, std::abs(m1[i] - m), std::abs(v1[i] - v)});
        }
        EXPECT_LT(worst, tolerance) << p.size();
    }
}

TEST_P(AdamW, threads_and_the_cut_into_tensors_do_not_change_bits) {
    List one(GetParam());
    test::Session single(1);
    const AdamWArgs args{1e-2, 0.9, 0.95, 1e-8, 0.1, 5, 0.5};
    adamw(single.ctx, one.tensors, args);
    for (const int n : {2, 3, 7}) {
        List many(GetParam());
        test::Session session(n);
        adamw(session.ctx, many.tensors, args);
        EXPECT_EQ(many.bytes(), one.bytes()) << n;
    }
    List apart(GetParam());
    for (const AdamWTensor& t : apart.tensors) adamw(single.ctx, {&t, 1}, args);
    EXPECT_EQ(apart.bytes(), one.bytes());
}

TEST_P(AdamW, zero_gradients_only_decay) {
    List list(GetParam());
    const List start(GetParam());
    for (const AdamWTensor& t : list.tensors)
        for (const TensorRef& zero : {t.grad, t.m, t.v}) fill_zero(zero);
    test::Session session(2);
    adamw(session.ctx, list.tensors, {1e-2, 0.9, 0.95, 1e-8, 0.5, 1, 1});
    for (size_t k = 0; k < list.tensors.size(); ++k) {
        const auto before = values_of(start.tensors[k].param), after = values_of(list.tensors[k].param);
        for (size_t i = 0; i < before.size(); ++i)
            EXPECT_NEAR(after[i], before[i] * (list.tensors[k].decay ? 0.995 : 1),
                        1e-7 * std::abs(before[i]));
        EXPECT_EQ(values_of(list.tensors[k].v), std::vector<double>(before.size(), 0.0));
    }
}

INSTANTIATE_TEST_SUITE_P(Types, AdamW, testing::Values(DType::f32, DType::f64),
                         [](const auto& test) { return std::string(name_of(test.param)); });

std::string error_of(std::span<const AdamWTensor> tensors, const AdamWArgs& args) {
    test::Session session(1);
    try {
        adamw(session.ctx, tensors, args);
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}

TEST(AdamWErrors, name_the_tensor) {
    const List list(DType::f32);
    const Tensor wide(DType::f64, {17}), matrix(DType::f32, {4, 6});
    std::vector<AdamWTensor> wrong = list.tensors;
    wrong[3].m = wide;
    EXPECT_EQ(error_of(wrong, {}), "[adamw] m[3]: expected a contiguous f32 (17), got f64 (17)");
    wrong = list.tensors;
    wrong[2].grad = {};
    EXPECT_EQ(error_of(wrong, {}), "[adamw] grad[2]: expected a contiguous f32 (16), got absent");
    wrong = list.tensors;
    const TensorRef columns = matrix.ref().slice(1, 0, 5);
    wrong[1] = {columns, columns, columns, columns};
    EXPECT_EQ(error_of(wrong, {}),
              "[adamw] param[1]: expected a contiguous f32 (4,5), got f32 (4,5), not contiguous");
    AdamWArgs args;
    args.step = 0;
    EXPECT_EQ(error_of(list.tensors, args), "[adamw] step: expected 1 or more, got 0");
}

}  // namespace
}  // namespace adder
