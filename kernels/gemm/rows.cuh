// The rows of (B,L,C) tensors as the rows of matrices.
#pragma once
#include <cstdint>

#include "core/error.h"
#include "core/tensor.h"

namespace adder::cuda {

// `batch` members of `rows` rows each.
struct RowsShape {
    int64_t batch = 1, rows = 0;
};

// Rows that are evenly spaced in both tensors are one member.
inline RowsShape rows_of(const TensorRef& x, const TensorRef& y) {
    const int64_t B = x.size(0), L = x.size(1);
    const auto even = [&](const TensorRef& t) { return t.stride[0] == L * t.stride[1]; };
    if (B == 1 || L == 1 || (even(x) && even(y))) return {1, B * L};
    return {B, L};
}

// Elements from row to row, and from member to member.
inline int64_t row_stride(const TensorRef& t) { return t.size(1) == 1 ? t.stride[0] : t.stride[1]; }
inline int64_t member_stride(const TensorRef& t) { return t.stride[0]; }

inline void expect_neighbours(const char* op, const char* name, const TensorRef& t) {
    const int last = t.rank() - 1;
    if (t && t.size(last) > 1 && t.stride[static_cast<size_t>(last)] != 1)
        fail("[{}] {}: the innermost stride must be 1, is {}", op, name, t.stride[static_cast<size_t>(last)]);
}

}  // namespace adder::cuda
