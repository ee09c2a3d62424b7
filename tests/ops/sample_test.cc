#include "kernels/sample/sample.h"

#include <cmath>

#include "kernels/sample/sample_cases.h"
#include "tests/ops/on_gpu.h"
#include "tests/ops/tensor_list.h"

namespace adder {
namespace {

constexpr int64_t kB = 3, kV = 7, kC = 4;

// Rows at different positions that write into rings of four tokens; `make` puts numbers where the op runs.
template <class Make>
struct Rows {
    explicit Rows(Make make)
        : logits(make(DType::f32, {kB, kV}, numbers(kB * kV))), allowed(make(DType::u8, {1, kV}, {1, 1, 0, 1, 1, 1, 0})),
          position(make(DType::i64, {kB}, {0, 9, 5})), end(make(DType::i64, {kB}, {100, 12, 5})),
          record(make(DType::i64, {kB}, {0, 1, 4000000000.0})), next(make(DType::u16, {kB}, {6, 6, 6})),
          tokens(make(DType::u16, {kB, kC}, std::vector<double>(kB * kC, 9))) {}

    static std::vector<double> numbers(int64_t n) {
        std::vector<double> v;
        for (int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(std::sin(1.7 * static_cast<double>(i))));
        return v;
    }
    SampleArgs args() const { return {logits, allowed, {1.5, 0, 0.9}, 42}; }
    // The new position takes the place of the old one.
    SampleRows rows() const { return {position, end, record, position, next, tokens}; }
    Tensor logits, allowed, position, end, record, next, tokens;
};

Tensor on_host(DType dtype, const Shape& shape, const std::vector<double>& values) {
    Tensor t(dtype, shape);
    set_values(t, values);
    return t;
}

TEST(Sample, rows_go_on_to_their_end_and_wrap_around_their_ring) {
    const Rows r(on_host);
    test::Session session(1);
    std::vector<std::vector<double>> drawn;
    for (int i = 0; i < 6; ++i) {
        sample(session.ctx, r.args(), r.rows());
        drawn.push_back(values_of(r.next));
    }
    EXPECT_EQ(values_of(r.position), (std::vector<double>{6, 12, 5}));
    const auto ring = values_of(r.tokens);
    const auto at = [&](size_t i, size_t b) { return drawn[i][b]; };
    EXPECT_EQ(ring, (std::vector<double>{at(4, 0), at(5, 0), at(2, 0), at(3, 0),  // positions 0 to 5
                                         9, at(0, 1), at(1, 1), at(2, 1),         // 9, 10 and 11
                                         9, 9, 9, 9}));
    EXPECT_EQ(at(5, 2), 6);
    for (int64_t i = 0; i < 3; ++i) {
        std::vector<uint16_t> order(kV);
        const double u = Philox(42, Stream::sample).uniform(static_cast<uint64_t>(9 + i), 1);
        const TensorRef row = r.logits.ref().slice(0, 1, 1).reshape({kV});
        EXPECT_EQ(at(static_cast<size_t>(i), 1), draw_token(row, r.allowed.ref().reshape({kV}), r.args().rule, u, order.data()));
    }
}

TEST(Sample, values_out_of_range_are_named) {
    EXPECT_THROW(check(SampleRule{-1, 0, 0}), Error);
    EXPECT_THROW(check(SampleRule{1, -1, 0}), Error);
    EXPECT_THROW(check(SampleRule{1, 0, 1.5}), Error);
    EXPECT_NO_THROW(check(SampleRule{0, 3, 1}));
}

class CudaSample : public test::OnGpu {};

TEST_F(CudaSample, draws_what_the_cpu_draws_step_by_step) {
    const Rows mine(test::on_gpu), theirs(on_host);
    test::Session session(1);
    for (int i = 0; i < 6; ++i) {
        sample(ctx, mine.args(), mine.rows());
        sample(session.ctx, theirs.args(), theirs.rows());
        gpu->synchronize();
        for (const auto& [a, b] : {std::pair{mine.next.ref(), theirs.next.ref()}, {mine.position.ref(), theirs.position.ref()},
                                   {mine.tokens.ref(), theirs.tokens.ref()}})
            EXPECT_EQ(test::from_gpu(a), values_of(b)) << i;
    }
}

TEST_F(CudaSample, a_recorded_step_goes_on_where_the_one_before_stopped) {
    const Rows mine(test::on_gpu), theirs(on_host);
    test::Session session(1);
    const Graph graph(*gpu, [&] { sample(ctx, mine.args(), mine.rows()); });
    for (int i = 0; i < 5; ++i) {
        graph.launch(gpu->stream());
        sample(session.ctx, theirs.args(), theirs.rows());
    }
    gpu->synchronize();
    EXPECT_EQ(test::from_gpu(mine.tokens), values_of(theirs.tokens));
    EXPECT_EQ(test::from_gpu(mine.position), values_of(theirs.position));
}

TEST_F(CudaSample, a_logit_that_is_not_finite_is_reported_unless_masked) {
    const Rows r(test::on_gpu);
    std::vector<double> logits = test::from_gpu(r.logits);
    logits[kV + 2] = std::nan("");  // masked
    copy(test::on_gpu(DType::f32, {kB, kV}, logits), r.logits);
    sample(ctx, r.args(), r.rows());
    EXPECT_NO_THROW(gpu->synchronize());
    logits[kV + 3] = INFINITY;
    copy(test::on_gpu(DType::f32, {kB, kV}, logits), r.logits);
    sample(ctx, r.args(), r.rows());
    try {
        gpu->synchronize();
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("token 3"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("row 1"), std::string::npos) << e.what();
    }
    EXPECT_NO_THROW(gpu->synchronize());
}

}  // namespace
}  // namespace adder
