// How linear maps on a GPU are cut, from shapes and strides alone: planning needs no GPU.
#pragma once
#include <cstdint>

#include "core/error.h"
#include "core/tensor.h"

namespace adder::cuda {

// One tensor's rows.
struct Rows {
    const void* data;
    int64_t stride;         // elements from row to row
    int64_t member_stride;  // from member to member
};

// The rows of two tensors side by side: `batch` members of `rows` rows each, one member where they are evenly spaced.
struct RowPairs {
    int64_t batch, rows;
    Rows x, y;
};

inline RowPairs rows_of(TensorRef x, TensorRef y) {
    const int64_t B = x.size(0), L = x.size(1);
    if (L > 1 && x.stride[1] < 0 && y.stride[1] < 0) {
        // Time runs backwards in both: the same pairs from the other end.
        for (TensorRef* t : {&x, &y}) {
            if (t->data) t->data = static_cast<char*>(t->data) + (L - 1) * t->stride[1] * size_of(t->dtype);
            t->stride[1] = -t->stride[1];
        }
    }
    const auto even = [&](const TensorRef& t) { return t.stride[0] == L * t.stride[1]; };
    const bool one = B == 1 || L == 1 || (even(x) && even(y));
    const auto rows = [&](const TensorRef& t) { return Rows{t.data, L == 1 ? t.stride[0] : t.stride[1], t.stride[0]}; };
    return {one ? 1 : B, one ? B * L : L, rows(x), rows(y)};
}

inline void expect_neighbours(const char* op, const char* name, const TensorRef& t) {
    const int last = t.rank() - 1;
    if (t && t.size(last) > 1 && t.stride[static_cast<size_t>(last)] != 1)
        fail("[{}] {}: the innermost stride must be 1, is {}", op, name, t.stride[static_cast<size_t>(last)]);
}

// What cuBLASLt may use: what NVIDIA advises for Hopper.
inline constexpr int64_t kProductWorkspaceBytes = int64_t{32} << 20;

// Slices of the rows over which a gradient by weight is summed.
struct SlicePlan {
    RowPairs rows;       // x and d_y
    int64_t slice;       // rows of a whole slice
    int64_t partials;    // that fit into the workspace at once; 0 = straight into d_weight
    int64_t I, O, n;     // n = O I

    int64_t partial_bytes() const { return (partials * n * 4 + 255) / 256 * 256; }
};

SlicePlan plan_slices(const TensorRef& x, const TensorRef& d_y);

inline constexpr int kBiasRows = 512;  // of a partial sum of d_bias

}  // namespace adder::cuda
