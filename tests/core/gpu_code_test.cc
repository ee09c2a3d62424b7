// What is said about a GPU and its driver, by names and numbers alone: no GPU is needed.
#include "core/gpu_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/bytes_text.h"

namespace adder {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(GpuCode, finished_code_runs_on_its_major_version_and_ptx_on_everything_newer) {
    EXPECT_EQ(gpu_code("80-real", 8, 0), GpuCode::finished);
    EXPECT_EQ(gpu_code("80-real", 8, 9), GpuCode::finished);
    EXPECT_EQ(gpu_code("86-real", 8, 0), GpuCode::none);
    EXPECT_EQ(gpu_code("80-real", 9, 0), GpuCode::none);
    EXPECT_EQ(gpu_code("80-virtual", 8, 0), GpuCode::ptx);
    EXPECT_EQ(gpu_code("80-virtual", 12, 1), GpuCode::ptx);
    EXPECT_EQ(gpu_code("90-virtual", 8, 9), GpuCode::none);
    EXPECT_EQ(gpu_code("80", 8, 6), GpuCode::finished);
    EXPECT_EQ(gpu_code("80", 10, 0), GpuCode::ptx);
}

TEST(GpuCode, code_with_a_letter_is_for_one_gpu) {
    EXPECT_EQ(gpu_code("90a-real", 9, 0), GpuCode::finished);
    EXPECT_EQ(gpu_code("90a", 9, 0), GpuCode::finished);
    EXPECT_EQ(gpu_code("90a-virtual", 9, 0), GpuCode::ptx);
    EXPECT_EQ(gpu_code("90a", 10, 0), GpuCode::none);
    EXPECT_EQ(gpu_code("100f", 10, 3), GpuCode::none);
}

TEST(GpuCode, of_several_architectures_the_best_counts) {
    EXPECT_EQ(gpu_code("80-virtual;90a-real", 9, 0), GpuCode::finished);
    EXPECT_EQ(gpu_code("90a-real,80-virtual", 10, 0), GpuCode::ptx);
    EXPECT_EQ(gpu_code("", 9, 0), GpuCode::none);
}

GpuInfo gpu_of(int major, int minor, int driver, int runtime) {
    GpuInfo g;
    g.name = "NVIDIA Made-Up";
    g.major = major;
    g.minor = minor;
    g.driver = driver;
    g.runtime = runtime;
    return g;
}

TEST(GpuCode, a_problem_names_the_gpu_what_was_built_and_a_remedy) {
    EXPECT_EQ(gpu_code_problem(gpu_of(9, 0, 13000, 13000), "90a-real"), "");
    const std::string old = gpu_code_problem(gpu_of(7, 5, 13000, 13000), "75-real");
    EXPECT_THAT(old,
                HasSubstr("NVIDIA Made-Up has compute capability 7.5, 8.0 is needed; hint: --device cpu"));
    const std::string other = gpu_code_problem(gpu_of(8, 6, 13000, 13000), "90a-real");
    EXPECT_THAT(
        other,
        HasSubstr(
            "compute capability 8.6, this program was built for 90a-real; hint: ./adder.sh build cuda"));
}

TEST(GpuCode, an_older_driver_runs_finished_code_but_cannot_compile_ptx) {
    EXPECT_EQ(gpu_code_problem(gpu_of(8, 6, 12020, 12060), "80-real"), "");
    EXPECT_EQ(gpu_code_problem(gpu_of(9, 0, 12060, 12060), "80-virtual"), "");
    EXPECT_EQ(gpu_code_problem(gpu_of(9, 0, 12080, 12060), "80-virtual"), "");
    const std::string problem = gpu_code_problem(gpu_of(9, 0, 12020, 12060), "80-virtual");
    EXPECT_THAT(
        problem,
        HasSubstr("the driver knows CUDA 12.2, not 12.6; hint: ./adder.sh build cuda on this machine"));
}

TEST(FaultWord, says_what_was_wrong_and_where_in_the_tile) {
    EXPECT_EQ(describe({}), "");
    EXPECT_EQ(describe({Fault::token_id, 99, 1, 7}),
              "[embedding] ids: 99 is outside the vocabulary, in row 1 at position 7 of its tile");
    EXPECT_THAT(describe({Fault::target, 99, 1, 7}), HasSubstr("at position 7 of its tile"));
    EXPECT_THAT(describe({Fault::weight, 0, 1, 7}), HasSubstr("at position 7 of its tile"));
    EXPECT_THAT(describe({Fault::logits, 4, 2, 0}), HasSubstr("the logit of token 4 is not finite in row 2"));
    EXPECT_THAT(describe({Fault::logits, -1, 2, 0}), HasSubstr("no token is allowed in row 2"));
    EXPECT_THAT(describe({Fault::logits, -1, 2, 0}), Not(HasSubstr("-1")));
}

TEST(BytesText, has_a_unit_that_fits) {
    EXPECT_EQ(bytes_text(0), "0.0 KiB");
    EXPECT_EQ(bytes_text(1536), "1.5 KiB");
    EXPECT_EQ(bytes_text(int64_t{2} << 20), "2.0 MiB");
    EXPECT_EQ(bytes_text(int64_t{3} << 29), "1.50 GiB");
}

}  // namespace
}  // namespace adder
