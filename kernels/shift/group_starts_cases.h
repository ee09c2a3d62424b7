// The cases of group_starts in shift.h. All is exact.
#pragma once
#include <span>

#include "core/ceil_div.h"
#include "kernels/common/op_case.h"
#include "kernels/shift/shift.h"
#include "kernels/shift/shift_ref.h"

namespace adder {

struct GroupStartsProblem {
    static constexpr const char* op = "group_starts";
    static constexpr bool sequence = false;

    struct Case {
        unsigned use;
        int64_t B, L, every;
    };

    // 256 groups of all rows a block; the last group of a row is open or whole.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kHuge, 1, 1, 4},
            {kTest | kSelftest, 3, 23, 4},
            {kTest, 2, 3, 5},
            {kTest | kSelftest | kSanitize | kHuge, 3, 1023, 4},
            {kTest | kSanitize, 2, 512, 2},
            {kTest, 1, 1024, 4},
            {kTest, 1, 1025, 4},
            {kTest, 5, 33, 1},
            {kTest, 3, 3001, 7},
            {kBench, 1, 1 << 20, 4},
            {kBench, 16, 65536, 4},
            {kBenchCuda, 1, 1 << 20, 4},
            {kBenchCuda, 16, 65536, 4},
        };
        return all;
    }
    static std::string name(const Case& c) { return fmt::format("B{} L{} every {}", c.B, c.L, c.every); }

    static std::vector<ArraySpec> inputs(const Case& c) {
        ArraySpec start = ArraySpec::activation("start", {c.B, c.L}).of(DType::u8).below(2).fixed();
        start.every = c.every;
        if (c.L % c.every != 0) start.open_dim = 1;  // one step more changes no number of groups
        return {start};
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("groups", {c.B, ceil_div(c.L, c.every)}).of(DType::u8).fixed().dense()};
    }

    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        ref::group_starts<S>(a.flags("start"), c.every, a.template out<2>("groups"));
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) { group_starts(ctx, a["start"], c.every, a["groups"]); }
};

}  // namespace adder
