// What the scan promises on a GPU beside the truth chain.
#include <gmock/gmock.h>

#include "kernels/common/shared_memory.h"
#include "kernels/scan/scan_cases.h"
#include "tests/ops/on_gpu.h"

namespace adder {
namespace {

using Case = ScanProblem::Case;
constexpr unsigned kAll = ScanProblem::kGate | ScanProblem::kStart | ScanProblem::kState;

class CudaScan : public test::OnGpu {};

// One segment of time and several.
TEST_F(CudaScan, final_state_has_the_same_bits_without_output_and_without_chunk_states) {
    ThreadPool pool(1);
    for (const DType storage : {DType::f32, DType::bf16})
        for (const unsigned flags : {kAll, kAll | ScanProblem::kZoh})
            for (const int64_t L : {11, 150}) {
                const Case c{kTest, 2, L, 37, 13, flags};
                const OpCase whole = op_case<ScanProblem>(c);
                const Bag<double> numbers = make_inputs(whole, storage);
                Instance run(whole, numbers, on(storage));
                run.forward(pool);
                const auto expected = run.bytes("hT");
                for (const auto& [y, states] : {std::pair{false, true}, {true, false}, {false, false}}) {
                    OpCase part = whole;
                    part.forward = [&, y = y, states = states](Ctx& to, TensorBag& a) {
                        scan_forward(
                            to, ScanProblem::args(c, a),
                            {y ? a["y"] : TensorRef(), a["hT"], states ? a["chunk_states"] : TensorRef()});
                    };
                    Instance again(part, numbers, on(storage));
                    again.forward(pool);
                    EXPECT_EQ(again.bytes("hT"), expected) << name_of(storage) << " L " << L << " y " << y;
                }
                OpCase in_place = whole;
                in_place.forward = [&](Ctx& to, TensorBag& a) {
                    scan_forward(to, ScanProblem::args(c, a), {TensorRef(), a["h0"], TensorRef()});
                };
                Instance again(in_place, numbers, on(storage));
                again.forward(pool);
                EXPECT_EQ(again.bytes("h0"), expected) << name_of(storage) << " L " << L << " in place";
            }
}

// Large enough for threads of two channels, which rows of odd strides do not allow.
TEST_F(CudaScan, threads_of_two_channels_give_the_bits_of_threads_of_one) {
    ThreadPool pool(1);
    const OpCase c = op_case<ScanProblem>({kTest, 1, 2200, 512, 3, kAll});
    const Bag<double> numbers = make_inputs(c, DType::bf16);
    Instance pairs(c, numbers, on(DType::bf16)), single(c, numbers, on(DType::bf16), Layout::strided);
    pairs.forward(pool);
    single.forward(pool);
    for (const char* name : {"y", "hT", "chunk_states"})
        EXPECT_EQ(single.bytes(name), pairs.bytes(name)) << name;
}

TEST_F(CudaScan, too_little_shared_memory_is_an_error_that_names_need_and_limit) {
    ThreadPool pool(1);
    const OpCase c = op_case<ScanProblem>({kTest, 1, 3, 64, 16, kAll});
    Instance run(c, make_inputs(c), on(DType::f32));
    run.forward(pool);
    const cuda::LowerSharedBytes lowered(50'000);
    try {
        run.backward(pool);
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::ContainsRegex("needs 67840 bytes of shared memory for a block, "
                                                     "the .+ has 50000; hint: pass --device cpu"));
    }
}

}  // namespace
}  // namespace adder
