// The cases of sample.h. Draws are exact: a wrong token is far outside any tolerance.
#pragma once
#include <span>

#include "core/rng.h"
#include "kernels/common/op_case.h"
#include "kernels/sample/sample.h"
#include "kernels/sample/sample_ref.h"

namespace adder {

struct SampleProblem {
    static constexpr const char* op = "sample";
    static constexpr bool sequence = false;
    static constexpr uint64_t kSeed = 11;

    struct Case {
        unsigned use;
        int64_t B, V;
        double temperature = 1;
        int64_t top_k = 0;
        double top_p = 0;
        int64_t L = 1;
        int64_t P = 1;  // rows of `allowed`
    };

    // Rows are ranked in shared memory up to 4,096 tokens. Half of the tokens may be drawn; the sizes are such that the
    // middle number of the logits, where a NaN is tried, belongs to one that may not.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kSanitize, 3, 7, 1, 0, 0},
            {kTest, 7, 7, 0, 0, 0},
            {kTest | kSelftest, 65, 17, 0.8, 4, 0},
            {kTest, 33, 65, 1.3, 0, 0.9},
            {kTest | kSanitize, 33, 253, 0.7, 40, 0.5},
            {kTest, 33, 247, 0.9, 20, 0.9, 1, 2},
            {kTest | kSelftest, 129, 261, 1, 0, 0},
            {kTest | kSanitize, 3, 4201, 2, 1000, 0.99},
            {kTest, 3, 4201, 1, 0, 0},
            {kBench, 1, 256, 1, 0, 0},
            {kBench, 64, 256, 0.9, 40, 0.95},
            {kBenchCuda, 1, 16, 1, 0, 0},
            {kBenchCuda, 64, 16, 1, 0, 0},
            {kBenchCuda, 64, 256, 0.9, 40, 0.95},
            {kBenchCuda, 64, 65536, 1, 0, 0.95},
        };
        return all;
    }
    static std::string name(const Case& c) {
        const std::string name =
            fmt::format("B{} V{} temperature {} top-k {} top-p {}", c.B, c.V, c.temperature, c.top_k, c.top_p);
        return c.P > 1 ? name + fmt::format(" {} alphabets", c.P) : name;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        const auto number = [&](const char* name, double lo, double hi) {
            return ArraySpec::parameter(name, {c.B}).of(DType::i64).uniform(lo, hi).fixed();
        };
        return {ArraySpec::activation("logits", {c.B, c.V}).accum().normal(0, 2).fixed(),
                ArraySpec::parameter("allowed", {c.P, c.V}).of(DType::u8).below(2).fixed().open(0),
                number("position", 0, 1000), number("end", 1001, 2000), number("record", 0, 100000)};
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::parameter("new_position", {c.B}).of(DType::i64).fixed(),
                ArraySpec::parameter("next", {c.B}).of(DType::u16).fixed(),
                ArraySpec::parameter("tokens", {c.B, 1}).of(DType::u16).fixed().open(1)};
    }

    static SampleRule rule(const Case& c) { return {c.temperature, c.top_k, c.top_p}; }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        const auto logits = a.template in<2>("logits");
        const auto position = a.template raw<int64_t, 1>("position"), record = a.template raw<int64_t, 1>("record");
        std::vector<uint16_t> order(static_cast<size_t>(c.V));
        for (int64_t b = 0; b < c.B; ++b) {
            const View<const S, 1> row{&logits(b, 0), {c.V}, {1}};
            const double u = Philox(kSeed, Stream::sample)
                                 .uniform(static_cast<uint64_t>(position(b)), static_cast<uint32_t>(record(b)));
            const auto masks = a.template raw<uint8_t, 2>("allowed");
            const View<const uint8_t, 1> allowed{&masks(position(b) % c.P, 0), {c.V}, {1}};
            const S id = S(ref::draw_token<S>(row, allowed, rule(c), u, order.data()));
            a.template out<1>("next")(b) = id;
            a.template out<2>("tokens")(b, 0) = id;
            a.template out<1>("new_position")(b) = S(position(b) + 1);
        }
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        sample(ctx, {a["logits"], a["allowed"], rule(c), kSeed},
               {a["position"], a["end"], a["record"], a["new_position"], a["next"], a["tokens"]});
    }
};

}  // namespace adder
