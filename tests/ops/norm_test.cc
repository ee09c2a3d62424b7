#include <gtest/gtest.h>

#include "kernels/common/op_instance.h"
#include "kernels/norm/norm_cases.h"

namespace adder {
namespace {

TEST(Norm, the_residual_stream_may_be_updated_in_place) {
    const OpCase c = op_case<NormProblem>({kTest, 3, 131, 37, true});
    ThreadPool pool(2);
    Instance apart(c, make_inputs(c), DType::f32), in_place(c, make_inputs(c), DType::f32);
    in_place.bag().tensors["residual_out"] = in_place.bag()["residual"];
    apart.forward(pool);
    in_place.forward(pool);
    EXPECT_EQ(apart.bytes("residual_out"), in_place.bytes("residual"));
    EXPECT_EQ(apart.bytes("y"), in_place.bytes("y"));
}

}  // namespace
}  // namespace adder
