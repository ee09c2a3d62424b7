// Cases past 2^31 elements and past 2^31 bytes of workspace on a GPU with 80 GB; the same checks on small ones.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "kernels/batch/unpack_batch.h"
#include "kernels/conv1d/conv1d_cases.h"
#include "kernels/cross_entropy/cross_entropy_cases.h"
#include "kernels/embedding/embedding_cases.h"
#include "kernels/gated_norm/gated_norm_cases.h"
#include "kernels/gemm/gemm_cases.h"
#include "kernels/norm/norm_cases.h"
#include "kernels/pool/pool_cases.h"
#include "kernels/scan/scan_cases.h"
#include "kernels/shift/shift_cases.h"
#include "kernels/ssd/ssd_cases.h"
#include "tests/ops/sampled_case.h"

namespace adder {
namespace {

// Ends and middle of [0, n).
std::vector<int64_t> ends_of(int64_t n, int64_t count) {
    std::vector<int64_t> some;
    for (int64_t i = 0; i < count; ++i) some.push_back(i < count / 2 ? i : n - count + i);
    return some;
}

// Channels of a scan are independent, but for B and C.
SampledCase scan_case(int64_t L, int64_t D, int64_t channels) {
    const unsigned flags = ScanProblem::kGate | ScanProblem::kState;
    return {op_case<ScanProblem>({kTest, 1, L, D, 16, flags}), op_case<ScanProblem>({kTest, 1, L, channels, 16, flags}),
            {{D, ends_of(D, channels)}}, {"d_B", "d_C"}};
}
SampledCase conv1d_case(int64_t L, int64_t D) {
    return {op_case<Conv1dProblem>({kTest, 1, L, D, 4, true, true, false, true}),
            op_case<Conv1dProblem>({kTest, 1, L, 8, 4, true, true, false, true}), {{D, ends_of(D, 8)}}, {}};
}
SampledCase shift_case(int64_t L, int64_t M) {
    return {op_case<ShiftProblem>({kTest, 1, L, M, true, true}),
            op_case<ShiftProblem>({kTest, 1, L, 8, true, true}),
            {{M, ends_of(M, 8)}},
            {}};
}
// The last column of the state is the length of the member, which all channels share. A mean is of one long
// member, a maximum, which would soon be the last, of many.
SampledCase pool_case(int64_t L, int64_t M, PoolKind kind) {
    const bool starts = kind == PoolKind::max;
    std::vector<int64_t> columns = ends_of(M, 8), of_state = columns;
    of_state.push_back(M);
    return {op_case<PoolProblem>({kTest, 1, L, M, kind, starts, true}),
            op_case<PoolProblem>({kTest, 1, L, 8, kind, starts, true}),
            {{M, columns}, {M + 1, of_state}},
            {}};
}
// So are the rows of a head's state, but for what belongs to the head. Steps are 0.015 to 0.4 long, as a model's are: in
// the table's cases some are 20 times the median.
SampledCase ssd_case(int64_t L, int64_t H, int64_t P, int64_t N) {
    const int64_t head = H - 1;
    const std::vector<int64_t> rows = ends_of(P, 8);
    std::vector<int64_t> columns = rows;
    for (int64_t& c : columns) c += head * P;
    SampledCase c = {op_case<SsdCases>({kTest, 1, L, H, P, N, 1, true, false, false}),
                     op_case<SsdCases>({kTest, 1, L, 1, 8, N, 1, true, false, false}),
                     {{H * P, columns}, {H, {head}}, {P, rows}},
                     {"d_dt_raw", "d_B", "d_C", "d_A_log", "d_D", "d_dt_bias"}};
    for (ArraySpec& s : c.whole.inputs)
        if (s.name == "dt_raw") s.hi = 0.5;  // standard deviation
    return c;
}
// The rows of these are independent, but for the parameters.
constexpr int64_t kRows = 64;
SampledCase norm_case(int64_t L, int64_t M) {
    return {op_case<NormProblem>({kTest, 1, L, M, true}), op_case<NormProblem>({kTest, 1, kRows, M, true}),
            {{L, ends_of(L, kRows)}}, {"d_weight"}};
}
SampledCase gated_norm_case(int64_t L, int64_t D) {
    return {op_case<GatedNormProblem>({kTest, 1, L, D, 1}), op_case<GatedNormProblem>({kTest, 1, kRows, D, 1}),
            {{L, ends_of(L, kRows)}}, {"d_weight"}};
}
SampledCase gemm_case(int64_t L, int64_t I, int64_t O) {
    return {op_case<LinearProblem>({kTest, 1, L, I, O, true}), op_case<LinearProblem>({kTest, 1, kRows, I, O, true}),
            {{L, ends_of(L, kRows)}}, {"d_weight", "d_bias"}};
}
SampledCase embedding_case(int64_t L, int64_t V, int64_t M) {
    return {op_case<EmbeddingProblem>({kTest, 1, L, V, M}), op_case<EmbeddingProblem>({kTest, 1, kRows, V, M}),
            {{L, ends_of(L, kRows)}}, {"d_weight"}};
}
SampledCase cross_entropy_case(int64_t L, int64_t V) {
    return {op_case<CrossEntropyProblem>({kTest, 1, L, V}), op_case<CrossEntropyProblem>({kTest, 1, kRows, V}),
            {{L, ends_of(L, kRows)}}, {"sums"}};
}

class OnGpu : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu_ = std::make_unique<Gpu>();
    }
    void need(int64_t gb) {
        if (gpu_free_bytes() < gb * 1'000'000'000) GTEST_SKIP() << "skipped: needs " << gb << " GB of GPU memory";
    }
    void expect_right(const SampledCase& c, DType storage, int64_t need_gb = 0) {
        need(need_gb);
        if (IsSkipped()) return;
        const CheckReport report = check_sampled(c, storage, *gpu_);
        for (size_t i = 0; i < std::min<size_t>(10, report.failures.size()); ++i) ADD_FAILURE() << report.failures[i];
        EXPECT_GT(report.comparisons, 0);
        std::printf("  %s: worst error / allowed %.2f at %s\n", name_of(storage), report.worst_ratio,
                    report.worst_at.c_str());
    }
    std::unique_ptr<Gpu> gpu_;
};

// That the checks themselves are right, for every op.
class CudaSampled : public OnGpu {};
TEST_F(CudaSampled, scan) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(scan_case(300, 40, 8), t);
}
TEST_F(CudaSampled, conv1d) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(conv1d_case(300, 40), t);
}
TEST_F(CudaSampled, ssd) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(ssd_case(300, 3, 32, 16), t);
}
TEST_F(CudaSampled, shift) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(shift_case(300, 40), t);
}
TEST_F(CudaSampled, pool) {
    for (const PoolKind kind : {PoolKind::mean, PoolKind::max})
        for (const DType t : {DType::f32, DType::bf16}) expect_right(pool_case(300, 40, kind), t);
}
TEST_F(CudaSampled, norm) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(norm_case(300, 40), t);
}
TEST_F(CudaSampled, gated_norm) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(gated_norm_case(300, 40), t);
}
TEST_F(CudaSampled, gemm) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(gemm_case(300, 40, 24), t);
}
TEST_F(CudaSampled, embedding) {
    for (const DType t : {DType::f32, DType::bf16}) expect_right(embedding_case(300, 16, 40), t);
}
TEST_F(CudaSampled, cross_entropy) {
    expect_right(cross_entropy_case(300, 17), DType::f32);
}

// L D just past 2^31. Ops that copy flags and tokens of one byte are compared at the end of a row of kLong: what is not
// there is zero, so that an offset which lost its upper bits shows.
constexpr int64_t kTail = 300, kLong = (int64_t{1} << 31) + kTail;
class CudaHugeSlow : public OnGpu {
  protected:
    void SetUp() override {
        OnGpu::SetUp();
        ctx_.device = Device::cuda;
        ctx_.gpu = gpu_.get();
        ctx_.scratch = &scratch_;
    }
    // Never zero. Neighbours, and the arrays of other factors, differ.
    static uint8_t tail_value(int64_t i, int64_t factor) { return static_cast<uint8_t>(1 + i * factor % 251); }
    static Tensor with_tail(int64_t factor) {
        Tensor t(DType::u8, {1, kLong}, Device::cuda, "a long row");
        std::vector<uint8_t> tail;
        for (int64_t i = 0; i < kTail; ++i) tail.push_back(tail_value(i, factor));
        copy_bytes(t.ref().ptr<uint8_t>("t") + kLong - kTail, tail.data(), kTail);
        return t;
    }
    // The last n elements of an array of the GPU.
    template <class T>
    std::vector<T> last(const TensorRef& t, int64_t n) {
        gpu_->synchronize();
        std::vector<T> values(static_cast<size_t>(n));
        copy_bytes(values.data(), t.ptr<T>("t") + t.numel() - n, n * static_cast<int64_t>(sizeof(T)));
        return values;
    }
    Arena scratch_{Device::cuda, "scratch"};
    Ctx ctx_;
};
TEST_F(CudaHugeSlow, scan) {
    expect_right(scan_case((1 << 20) + 64, 2048, 8), DType::bf16, 50);
}
// The workspace of backward grows with L and not with D.
TEST_F(CudaHugeSlow, scan_of_few_channels) {
    SampledCase c = scan_case((1 << 25) + 64, 64, 2);
    c.part = {};  // its reference would take minutes
    expect_right(c, DType::bf16, 60);
}
TEST_F(CudaHugeSlow, conv1d) {
    expect_right(conv1d_case((1 << 20) + 64, 2048), DType::bf16, 25);
}
TEST_F(CudaHugeSlow, shift) {
    expect_right(shift_case((1 << 20) + 64, 2048), DType::bf16, 20);
}
TEST_F(CudaHugeSlow, pool) {
    for (const PoolKind kind : {PoolKind::mean, PoolKind::max})
        expect_right(pool_case((1 << 20) + 64, 2048, kind), DType::bf16, 30);
}
// Its states between the chunks are more than 2^31 elements too.
// What tensor cores multiply is rounded to bf16 first: the largest error of eight million sums of such products lies farther
// from their rms than that of the reference, which rounds every result once. So the cap of every tolerance holds here for
// single elements; their rms is judged as everywhere.
TEST_F(CudaHugeSlow, ssd) {
    SampledCase c = ssd_case((1 << 20) + 64, 32, 64, 128);
    c.peak = tolerance_of(DType::bf16).cap;
    expect_right(c, DType::bf16, 60);
}
TEST_F(CudaHugeSlow, norm) {
    expect_right(norm_case((1 << 23) + 64, 256), DType::bf16, 45);
}
TEST_F(CudaHugeSlow, gated_norm) {
    expect_right(gated_norm_case((1 << 22) + 64, 512), DType::bf16, 30);
}
TEST_F(CudaHugeSlow, gemm) {
    expect_right(gemm_case((1 << 22) + 64, 512, 512), DType::bf16, 25);
}
TEST_F(CudaHugeSlow, embedding) {
    expect_right(embedding_case((1 << 22) + 64, 16, 512), DType::bf16, 12);
}
TEST_F(CudaHugeSlow, cross_entropy) {
    expect_right(cross_entropy_case((1 << 21) + 64, 1024), DType::f32, 20);
}
TEST_F(CudaHugeSlow, unpack_batch) {
    need(8);
    if (IsSkipped()) return;
    constexpr int64_t T = 257, kSkipped = kTail - T;
    const Tensor tokens = with_tail(3), targets = with_tail(5), flags = with_tail(7);
    const Tensor palette(DType::f32, {PackedBatch::kWeights}, Device::cuda, "a palette");
    std::vector<float> weights;
    for (int i = 0; i < PackedBatch::kWeights; ++i) weights.push_back(0.5f + static_cast<float>(i));
    copy_bytes(palette.ref().data, weights.data(), palette.ref().bytes());
    const Tensor memory(DType::u8, {TokenTile::bytes(1, T)}, Device::cuda, "a tile");
    const TokenTile tile = TokenTile::at(memory.ref().data, Device::cuda, 1, T);
    unpack_batch(ctx_, {tokens, targets, flags, palette}, kLong - T, tile);
    const auto ids = last<uint16_t>(tile.ids, T), next = last<uint16_t>(tile.targets, T);
    const auto weight = last<float>(tile.weights, T);
    const auto start = last<uint8_t>(tile.start, T);
    for (int64_t t = 0; t < T; ++t) {
        const auto i = static_cast<size_t>(t);
        const uint8_t flag = tail_value(kSkipped + t, 7);
        ASSERT_EQ(ids[i], tail_value(kSkipped + t, 3)) << t;
        ASSERT_EQ(next[i], tail_value(kSkipped + t, 5)) << t;
        ASSERT_EQ(weight[i], weights[flag / 2]) << t;
        ASSERT_EQ(start[i], flag % 2) << t;
    }
}
// Groups of one step are more than 2^31 too.
TEST_F(CudaHugeSlow, group_starts) {
    need(6);
    if (IsSkipped()) return;
    const Tensor start = with_tail(3);
    for (const int64_t every : {1, 4}) {
        static_assert(kLong % 4 == 0 && kTail % 4 == 0);
        const Tensor groups(DType::u8, {1, kLong / every}, Device::cuda, "groups");
        group_starts(ctx_, start, every, groups);
        const auto flags = last<uint8_t>(groups, kTail / every);
        for (int64_t g = 0; g < std::ssize(flags); ++g)
            ASSERT_EQ(flags[static_cast<size_t>(g)], tail_value(g * every, 3)) << "group " << g << " of " << every;
    }
}

}  // namespace
}  // namespace adder
