#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/io/scratch.h"
#include "kernels/common/op_instance.h"
#include "kernels/embedding/embedding_cases.h"

namespace adder {
namespace {

TEST(Embedding, the_first_id_past_the_table_is_named_before_anything_is_written) {
    const OpCase c = op_case<EmbeddingProblem>({kTest, 2, 200, 7, 5});
    ThreadPool pool(2);
    for (const DType real : {DType::f32, DType::f64}) {
        Instance run(c, make_inputs(c), real);
        std::vector<double> ids = run.values("ids");
        const std::vector<double> gradient = run.values("d_weight");
        ids[200 + 150] = 9;
        ids[200 + 151] = 65535;
        run.set("ids", ids);
        EXPECT_EQ(error_of([&] { run.forward(pool); }),
                  "[embedding_forward] ids: expected ids below V = 7, got 9 in row 1 at step 150");
        for (double y : run.values("y")) EXPECT_TRUE(std::isnan(y));
        EXPECT_THAT(error_of([&] { run.backward(pool); }), testing::HasSubstr("got 9 in row 1 at step 150"));
        EXPECT_EQ(run.values("d_weight"), gradient);
        ids[200 + 150] = 6;
        ids[200 + 151] = 0;
        run.set("ids", ids);
        run.forward(pool);
        EXPECT_FALSE(std::isnan(run.values("y").back()));
    }
}

TEST(Embedding, gradient_memory_does_not_depend_on_the_position) {
    for (int64_t L : {1, 2, 100, 1024, 1025, 5000}) {
        int64_t largest = 0, smallest = 1 << 30;
        for (int64_t t0 : {0, 1, 512, 1023, 1024, 3000}) {
            Arena plan;
            Ctx ctx;
            ctx.scratch = &plan;
            ctx.dry_run = true;
            embedding_backward(ctx, TensorRef(nullptr, DType::u16, {2, L}),
                               TensorRef(nullptr, DType::f32, {2, L, 8}), t0,
                               TensorRef(nullptr, DType::f32, {16, 8}));
            largest = std::max(largest, plan.peak_bytes());
            smallest = std::min(smallest, plan.peak_bytes());
        }
        EXPECT_EQ(largest, smallest) << L;
    }
}

}  // namespace
}  // namespace adder
