#include <gtest/gtest.h>

#include "core/error.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_instance.h"
#include "kernels/conv1d/conv1d_cases.h"

namespace adder {
namespace {

OpCase case_of(int64_t B, int64_t L, int64_t D, int64_t K) {
    return op_case<Conv1dProblem>({kTest, B, L, D, K, true, true, true, true});
}

// Bit t of `pattern` says whether step t begins a member.
Bag<double> inputs_with_starts(const OpCase& c, uint64_t pattern) {
    Bag<double> numbers = make_inputs(c);
    Tensor start(DType::u8, {c.B, c.L});
    for (int64_t i = 0; i < c.B * c.L; ++i)
        start.ref().ptr<uint8_t>("start")[i] = (pattern >> (i % c.L)) & 1 ? 1 : 0;
    numbers.put_raw("start", std::move(start));
    return numbers;
}

void expect_reference(const OpCase& c, uint64_t pattern) {
    const Bag<double> numbers = inputs_with_starts(c, pattern);
    ThreadPool pool(2);
    Instance run(c, numbers, DType::f32), exact(c, numbers, DType::f64);
    run.forward(pool);
    run.backward(pool);
    exact.forward(pool);
    exact.backward(pool);
    for (const char* name : {"y", "halo_out", "d_x", "d_weight", "d_bias", "d_halo_out"})
        EXPECT_LT(errors_of(run.values(name), exact.values(name)).rms, 1e-6)
            << c.title() << ", starts " << pattern << ": " << name;
}

TEST(Conv1d, every_placement_of_starts_equals_the_reference) {
    for (int64_t K : {2, 4, 5})
        for (int64_t L : {1, 2, 3, 4, 7}) {
            const OpCase c = case_of(1, L, 18, K);
            for (uint64_t pattern = 0; pattern < uint64_t{1} << L; ++pattern) expect_reference(c, pattern);
        }
    for (int64_t at = 0; at < 40; ++at) expect_reference(case_of(1, 40, 5, 4), uint64_t{1} << at);
}

TEST(Conv1d, a_start_zeroes_the_halo_that_is_handed_on) {
    const OpCase c = case_of(1, 6, 3, 4);
    Instance run(c, inputs_with_starts(c, 1u << 4), DType::f32);
    ThreadPool pool(1);
    run.forward(pool);
    const std::vector<double> x = run.values("x"), halo = run.values("halo_out");
    for (size_t d = 0; d < 3; ++d) {
        EXPECT_EQ(halo[d], 0);
        EXPECT_EQ(halo[3 + d], x[4 * 3 + d]);
        EXPECT_EQ(halo[6 + d], x[5 * 3 + d]);
    }
}

TEST(Conv1d, the_halo_may_be_updated_in_place) {
    for (const DType real : {DType::f32, DType::f64})
        for (int64_t L : {1, 2, 3, 9}) {
            const OpCase c = case_of(2, L, 21, 5);
            const Bag<double> numbers = inputs_with_starts(c, 0);
            ThreadPool pool(2);
            Instance apart(c, numbers, real), in_place(c, numbers, real);
            in_place.bag().tensors["halo_out"] = in_place.bag()["halo"];
            apart.forward(pool);
            in_place.forward(pool);
            EXPECT_EQ(apart.bytes("halo_out"), in_place.bytes("halo")) << L;
            EXPECT_EQ(apart.bytes("y"), in_place.bytes("y")) << L;
        }
}

TEST(Conv1d, a_step_has_the_bits_of_forward) {
    for (const std::string& isa : available_isas()) {
        force_isa(isa);
        const OpCase c = case_of(3, 1, 37, 4);
        ThreadPool pool(1);
        for (uint64_t pattern : {0, 1}) {
            const Bag<double> numbers = inputs_with_starts(c, pattern);
            Instance whole(c, numbers, DType::f32), step(c, numbers, DType::f32);
            whole.forward(pool);
            step.set("halo_out", step.values("halo"));
            step.step(pool);
            EXPECT_EQ(whole.bytes("y"), step.bytes("y")) << isa;
            EXPECT_EQ(whole.bytes("halo_out"), step.bytes("halo_out")) << isa;
        }
    }
    force_isa("");
}

TEST(Conv1d, widths_other_than_2_to_8_are_refused) {
    Ctx ctx;
    Arena plan;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    const TensorRef x(nullptr, DType::f32, {1, 5, 3}), narrow(nullptr, DType::f32, {3, 1}),
        wide(nullptr, DType::f32, {3, 9}), right(nullptr, DType::f32, {3, 8});
    EXPECT_THROW(conv1d_forward(ctx, {x, narrow, {}, {}, {}}, x, {}), Error);
    EXPECT_THROW(conv1d_forward(ctx, {x, wide, {}, {}, {}}, x, {}), Error);
    EXPECT_NO_THROW(conv1d_forward(ctx, {x, right, {}, {}, {}}, x, {}));
}

}  // namespace
}  // namespace adder
