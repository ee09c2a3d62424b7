// The cases of unpack_batch.h. All is exact.
#pragma once
#include <span>

#include "kernels/batch/unpack_batch.h"
#include "kernels/batch/unpack_batch_ref.h"
#include "kernels/common/op_case.h"

namespace adder {

struct UnpackBatchProblem {
    static constexpr const char* op = "unpack_batch";
    static constexpr bool sequence = false;

    struct Case {
        unsigned use;
        int64_t B, L, t0, T, V;
    };

    // 256 neighbouring steps a block; ids take two bytes from 257 tokens on.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest, 1, 1, 0, 1, 16},
            {kTest | kSelftest | kSanitize, 3, 300, 7, 257, 16},
            {kTest, 3, 600, 88, 512, 256},
            {kTest | kSelftest | kSanitize, 2, 300, 44, 256, 60000},
            {kTest, 5, 33, 32, 1, 257},
            {kBench, 8, 8192, 0, 8192, 16},
            {kBenchCuda, 1, 1 << 20, 0, 1 << 20, 16},
            {kBenchCuda, 64, 1024, 0, 1024, 16},
            {kBenchCuda, 16, 2048, 0, 2048, 4096},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} t0 {} T{} V{}", c.B, c.L, c.t0, c.T, c.V);
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        const auto integers = [&](const char* name, DType dtype, int64_t below) {
            return ArraySpec::activation(name, {c.B, c.L}).of(dtype).below(below).fixed().dense();
        };
        const DType id = c.V > 256 ? DType::u16 : DType::u8;
        return {integers("tokens", id, c.V), integers("next", id, c.V), integers("flags", DType::u8, 256),
                ArraySpec::parameter("palette", {PackedBatch::kWeights}).of(DType::f32).fixed()};
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        const auto output = [&](const char* name, DType dtype) {
            return ArraySpec::activation(name, {c.B, c.T}).of(dtype).fixed().dense();
        };
        return {output("ids", DType::u16), output("targets", DType::u16), output("weights", DType::f32),
                output("start", DType::u8)};
    }

    template <class Token, class S>
    static void unpack(const Case& c, Bag<S>& a) {
        const ref::PackedViews<Token> batch{a.template raw<Token, 2>("tokens"), a.template raw<Token, 2>("next"),
                                            a.flags("flags"), a.template raw<float, 1>("palette")};
        const ref::TileViews<S> tile{a.template out<2>("ids"), a.template out<2>("targets"),
                                     a.template out<2>("weights"), a.template out<2>("start")};
        ref::unpack_batch<Token, S>(batch, c.t0, tile);
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        c.V > 256 ? unpack<uint16_t>(c, a) : unpack<uint8_t>(c, a);
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        unpack_batch(ctx, {a["tokens"], a["next"], a["flags"], a["palette"]}, c.t0,
                     {a["ids"], a["targets"], a["weights"], a["start"]});
    }
};

}  // namespace adder
