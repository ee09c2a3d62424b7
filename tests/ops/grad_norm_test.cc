#include "kernels/grad_norm/grad_norm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/ops/tensor_list.h"

namespace adder {
namespace {

struct List {
    explicit List(DType dtype) {
        uint32_t key = 0;
        for (const int64_t n : test::kListSizes) memory.push_back(test::random_tensor(dtype, n, key++));
        for (const Tensor& t : memory) tensors.push_back(t);
    }
    void put(size_t tensor, size_t element, double value) {
        std::vector<double> v = values_of(tensors[tensor]);
        v[element] = value;
        set_values(tensors[tensor], v);
    }
    std::vector<Tensor> memory;
    std::vector<TensorRef> tensors;
};

class GradNormOf : public testing::TestWithParam<DType> {
  protected:
    List list{GetParam()};
    test::Session session{2};
};

TEST_P(GradNormOf, every_size_is_the_sum_in_long_double) {
    long double all = 0;
    for (const TensorRef& t : list.tensors) {
        long double sum = 0;
        for (const double x : values_of(t)) sum += static_cast<long double>(x) * x;
        all += sum;
        const GradNorm got = grad_norm(session.ctx, {&t, 1});
        EXPECT_NEAR(got.sum_of_squares, static_cast<double>(sum), 1e-14 * static_cast<double>(sum))
            << t.numel();
        EXPECT_EQ(got.first_bad, -1);
    }
    const GradNorm got = grad_norm(session.ctx, list.tensors);
    EXPECT_NEAR(got.sum_of_squares, static_cast<double>(all), 1e-14 * static_cast<double>(all));
}

TEST_P(GradNormOf, any_number_of_threads_has_the_same_bits) {
    test::Session single(1);
    const auto expected = std::bit_cast<uint64_t>(grad_norm(single.ctx, list.tensors).sum_of_squares);
    for (const int n : {2, 3, 7}) {
        test::Session many(n);
        EXPECT_EQ(std::bit_cast<uint64_t>(grad_norm(many.ctx, list.tensors).sum_of_squares), expected) << n;
    }
}

TEST_P(GradNormOf, the_first_tensor_with_a_value_that_is_not_finite_is_named) {
    const double inf = std::numeric_limits<double>::infinity(),
                 nan = std::numeric_limits<double>::quiet_NaN();
    list.put(6, 100002, nan);
    EXPECT_EQ(grad_norm(session.ctx, list.tensors).first_bad, 6);
    EXPECT_TRUE(std::isnan(grad_norm(session.ctx, list.tensors).sum_of_squares));
    list.put(4, 4094, -inf);
    EXPECT_EQ(grad_norm(session.ctx, list.tensors).first_bad, 4);
    list.put(2, 15, inf);
    EXPECT_EQ(grad_norm(session.ctx, list.tensors).first_bad, 2);
    list.put(0, 0, nan);
    EXPECT_EQ(grad_norm(session.ctx, list.tensors).first_bad, 0);
}

TEST_P(GradNormOf, large_finite_values_are_not_bad) {
    const double large = GetParam() == DType::f32 ? 3e38 : 1e300;
    list.put(5, 7, large);
    const GradNorm got = grad_norm(session.ctx, list.tensors);
    EXPECT_EQ(got.first_bad, -1);
    EXPECT_EQ(std::isfinite(got.sum_of_squares), GetParam() == DType::f32);
}

INSTANTIATE_TEST_SUITE_P(Types, GradNormOf, testing::Values(DType::f32, DType::f64),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(GradNormList, may_be_empty) {
    test::Session session(1);
    const GradNorm got = grad_norm(session.ctx, {});
    EXPECT_EQ(got.sum_of_squares, 0);
    EXPECT_EQ(got.first_bad, -1);
}

TEST(GradNormList, is_not_read_while_planning) {
    const List list(DType::f32);
    std::vector<TensorRef> planned = list.tensors;
    for (TensorRef& t : planned) t.data = nullptr;
    Arena plan;
    Ctx ctx;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    EXPECT_EQ(grad_norm(ctx, planned).first_bad, -1);
    EXPECT_GT(plan.peak_bytes(), 0);
}

TEST(GradNormErrors, name_the_tensor) {
    test::Session session(1);
    const Tensor good(DType::f32, {3}), matrix(DType::f64, {4, 6}), tokens(DType::u16, {3});
    const auto error_of = [&](std::vector<TensorRef> list) -> std::string {
        try {
            grad_norm(session.ctx, list);
        } catch (const Error& e) {
            return e.what();
        }
        return "no error";
    };
    EXPECT_EQ(
        error_of({good, matrix.ref().slice(1, 0, 5)}),
        "[grad_norm] tensors[1]: expected a contiguous f32 or f64 tensor, got f64 (4,5), not contiguous");
    EXPECT_EQ(error_of({good, good, tokens}),
              "[grad_norm] tensors[2]: expected a contiguous f32 or f64 tensor, got u16 (3)");
    EXPECT_EQ(error_of({good, {}}),
              "[grad_norm] tensors[1]: expected a contiguous f32 or f64 tensor, got absent");
}

}  // namespace
}  // namespace adder
