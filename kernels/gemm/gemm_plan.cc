#include "kernels/gemm/gemm_plan.h"

#include <algorithm>

#include "core/ceil_div.h"
#include "kernels/common/multiprocessors.h"
#include "kernels/gemm/gemm_cuda.h"

namespace adder::cuda {

namespace {

constexpr int64_t kLongestSlice = 8192, kShortestSlice = 512;
constexpr int64_t kMostPartialBytes = int64_t{128} << 20;
// Tiles of 128 x 128 of all products at once that keep a GPU busy.
constexpr int64_t kEnoughTiles = 2 * kMultiprocessors;

}  // namespace

SlicePlan plan_slices(const TensorRef& x, const TensorRef& d_y) {
    const int64_t I = x.size(2), O = d_y.size(2);
    SlicePlan p{rows_of(x, d_y), kLongestSlice, 0, I, O, O * I};
    const int64_t tiles = ceil_div(O, 128) * ceil_div(I, 128);
    const auto slices = [&] { return p.rows.batch * ceil_div(p.rows.rows, p.slice); };
    while (p.slice > kShortestSlice && tiles * slices() < kEnoughTiles) p.slice /= 2;
    if (tiles >= kEnoughTiles / 2 || slices() == 1) return p;
    p.partials = std::clamp<int64_t>(kMostPartialBytes / (p.n * 4), 1, slices());
    return p;
}

int64_t linear_forward_scratch_bytes() { return kProductWorkspaceBytes; }

int64_t linear_backward_input_scratch_bytes() { return kProductWorkspaceBytes; }

int64_t linear_backward_weight_scratch_bytes(const LinearArgs& args, const TensorRef& d_y, bool bias) {
    const int64_t slices = ceil_div(d_y.size(0) * d_y.size(1), kBiasRows);
    return kProductWorkspaceBytes + plan_slices(args.x, d_y).partial_bytes() + (bias ? slices * d_y.size(2) * 4 : 0);
}

}  // namespace adder::cuda
