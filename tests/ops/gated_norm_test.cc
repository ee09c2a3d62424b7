#include <gtest/gtest.h>

#include "kernels/common/op_instance.h"
#include "kernels/gated_norm/gated_norm_cases.h"

namespace adder {
namespace {

class GatedNorm : public testing::TestWithParam<DType> {
  protected:
    const OpCase c = op_case<GatedNormProblem>({kTest, 3, 131, 36, 2});
    ThreadPool pool{2};
    Instance apart{c, make_inputs(c), GetParam()}, in_place{c, make_inputs(c), GetParam()};
};

TEST_P(GatedNorm, the_output_may_be_the_input) {
    in_place.bag().tensors["y"] = in_place.bag()["x"];
    apart.forward(pool);
    in_place.forward(pool);
    EXPECT_EQ(apart.bytes("y"), in_place.bytes("x"));
}

TEST_P(GatedNorm, the_gradient_of_the_input_may_replace_that_of_the_output) {
    in_place.bag().tensors["d_x"] = in_place.bag()["d_y"];
    apart.backward(pool);
    in_place.backward(pool);
    for (const char* name : {"d_z", "d_weight"}) EXPECT_EQ(apart.bytes(name), in_place.bytes(name)) << name;
    EXPECT_EQ(apart.bytes("d_x"), in_place.bytes("d_y"));
}

INSTANTIATE_TEST_SUITE_P(Types, GatedNorm, testing::Values(DType::f32, DType::f64),
                         [](const auto& run) { return std::string(name_of(run.param)); });

TEST(GatedNormGate, saturates_without_overflow) {
    Tensor x(DType::f32, {1, 1, 4}), z(DType::f32, {1, 1, 4}), weight(DType::f32, {4}),
        y(DType::f32, {1, 1, 4});
    set_values(x, {1, 1, 1, 1});
    set_values(z, {-1e30, -200, 100, 0});
    set_values(weight, {1, 1, 1, 1});
    ThreadPool pool(1);
    Arena scratch;
    scratch.bind(0);
    Ctx ctx;
    ctx.pool = &pool;
    ctx.scratch = &scratch;
    gated_norm_forward(ctx, {x, z, weight, 1, 1e-5f}, y);
    const std::vector<double> got = values_of(y);
    EXPECT_EQ(got[0], 0);
    EXPECT_EQ(got[1], 0);
    EXPECT_NEAR(got[2], 2, 1e-6);  // the one open gate of four
    EXPECT_EQ(got[3], 0);
}

TEST(GatedNormGroups, that_do_not_divide_the_channels_are_an_error) {
    const OpCase c = op_case<GatedNormProblem>({kTest, 1, 2, 6, 4});
    ThreadPool pool(1);
    Instance run(c, make_inputs(c), DType::f32);
    try {
        run.forward(pool);
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "[gated_norm_forward] G: expected a divisor of the 6 channels, got 4");
    }
}

}  // namespace
}  // namespace adder
