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

}  // namespace
}  // namespace adder
