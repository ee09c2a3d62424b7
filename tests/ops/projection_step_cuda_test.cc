// What the projections of a step promise on a GPU beside the truth chain.
#include "kernels/common/op_check.h"
#include "kernels/projection_step/projection_step_cases.h"
#include "kernels/scan/scan_step_cases.h"
#include "tests/ops/on_gpu.h"

namespace adder {
namespace {

class CudaProjectionStep : public test::OnGpu {
  protected:
    // Every output of rows [b, b + part.B) alone has the bits it has in the whole batch.
    void expect_same_rows(const OpCase& whole, const OpCase& part, int64_t b) {
        ThreadPool pool(1);
        const Bag<double> numbers = make_inputs(whole, DType::bf16);
        Instance all(whole, numbers, on(DType::bf16)),
            some(part, slice_bag(whole, part, numbers, b, 0), on(DType::bf16));
        all.forward(pool);
        some.forward(pool);
        for (const ArraySpec& s : part.outputs) {
            const std::vector<double> got = some.values(s.name), want = all.values(s.name);
            const auto row = static_cast<int64_t>(got.size()) / part.B;
            EXPECT_TRUE(std::equal(got.begin(), got.end(), want.begin() + b * row))
                << whole.title() << ": " << s.name << " of rows " << b << " to " << b + part.B;
        }
    }
    // Rows and squares that the case's last B rows leave in a stream.
    std::vector<unsigned char> left_in_stream(OutProjStepProblem::Case c, int64_t B) {
        const OpCase whole = op_case<OutProjStepProblem>(c);
        const int64_t first = c.B - B;
        c.B = B;
        OpCase part = op_case<OutProjStepProblem>(c);
        Tensor rows(DType::bf16, {B, 1, c.M}, Device::cuda),
            squares(DType::f32, {B, 1, c.M / 8}, Device::cuda);
        part.forward = [&](Ctx& on_gpu, TensorBag& a) {
            ArenaScope scope(*on_gpu.scratch);
            const StepStream stream = case_stream(on_gpu, DType::bf16, c.B, c.M, a);
            out_proj_step(on_gpu,
                          {{a["x"], a["z"], a["gated_weight"], c.G, kProjectionEps}, a["out_weight"], false},
                          {{}, stream});
            copy(on_gpu, stream.rows, rows);
            copy(on_gpu, stream.squares, squares);
        };
        Instance run(part, slice_bag(whole, part, make_inputs(whole, DType::bf16), first, 0),
                     on(DType::bf16));
        ThreadPool pool(1);
        run.forward(pool);
        std::vector<unsigned char> bytes(static_cast<size_t>(rows.ref().bytes() + squares.ref().bytes()));
        copy_bytes(bytes.data(), rows.ref().data, rows.ref().bytes());
        copy_bytes(bytes.data() + rows.ref().bytes(), squares.ref().data, squares.ref().bytes());
        return bytes;
    }
    template <class P>
    void expect_rows_of(typename P::Case c) {
        const OpCase whole = op_case<P>(c);
        for (const auto& [b, B] : {std::pair<int64_t, int64_t>{0, 1}, {7, 2}, {33, 16}, {50, 20}}) {
            c.B = B;
            expect_same_rows(whole, op_case<P>(c), b);
        }
    }
};

// The batches of 70 take the gated norm as a kernel of its own, and each of the larger tiles.
TEST_F(CudaProjectionStep, a_row_has_the_same_bits_in_any_batch) {
    constexpr unsigned kAll =
        InProjStepProblem::kNorm | InProjStepProblem::kResidual | InProjStepProblem::kBias;
    expect_rows_of<InProjStepProblem>({kTest, 70, 40, 690, 3, 500, 4, kAll});
    expect_rows_of<InProjStepProblem>({kTest, 70, 40, 1000, 4, 500, 4, kAll});
    expect_rows_of<InProjStepProblem>({kTest, 70, 264, 1288, 512, 768, 4, kAll});
    expect_rows_of<InProjStepProblem>({kTest, 70, 40, 2400, 0, 1200, 4, kAll});
    constexpr unsigned kGate = OutProjStepProblem::kGate, kStream = OutProjStepProblem::kStream;
    expect_rows_of<OutProjStepProblem>({kTest, 70, 264, 1100, kGate});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 264, 40, kStream, 18});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 264, 520, kStream, 690});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 40, 1160, kStream, 1000});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 13, 2104, kStream, 16});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 264, 40, kGate | kStream, 18});
    expect_rows_of<OutProjStepProblem>({kTest, 70, 264, 1104, kGate | kStream, 2400});
    expect_rows_of<LowRankStepProblem>({kTest, 70, 40, 16, 20, true, false});
    expect_rows_of<LowRankStepProblem>({kTest, 70, 4000, 16, 20, true, true});
}

// What stands behind a product rounds the last bits of the squares away. In each of the tiles.
TEST_F(CudaProjectionStep, what_a_row_leaves_in_a_stream_has_the_same_bits_in_any_batch) {
    using P = OutProjStepProblem;
    const auto last = [](const std::vector<unsigned char>& bytes, int64_t from, int64_t to, int64_t B) {
        const auto row = static_cast<std::ptrdiff_t>((to - from) / B);
        return std::vector<unsigned char>(bytes.begin() + to - row, bytes.begin() + to);
    };
    for (const unsigned flags : {unsigned{P::kStream}, P::kGate | P::kStream})
        for (const int64_t M : {128, 320, 1152}) {
            const P::Case c{kTest, 70, 72, M, flags};
            const std::vector<unsigned char> alone = left_in_stream(c, 1);
            for (const int64_t B : {3, 17, 70}) {
                const std::vector<unsigned char> together = left_in_stream(c, B);
                const int64_t rows = B * M * 2, all = rows + B * M / 8 * 4;
                EXPECT_EQ(last(together, 0, rows, B), last(alone, 0, M * 2, 1)) << M << " " << B;
                EXPECT_EQ(last(together, rows, all, B), last(alone, M * 2, std::ssize(alone), 1))
                    << M << " " << B;
            }
        }
}

}  // namespace
}  // namespace adder
