// The dtype dispatch of the CPU ops: f32 runs the SIMD twin, f64 the reference.
#pragma once
#include "core/tensor.h"

namespace adder {

// The storage type of an op's arguments, read off `t`. Throws Error for a type that the op cannot run with.
inline DType storage_of(const char* op, const char* name, const TensorRef& t) {
    if (t.dtype == DType::f32 || t.dtype == DType::f64) return t.dtype;
    if (t.dtype == DType::bf16) fail("[{}] {}: bf16 storage needs --device cuda", op, name);
    fail("[{}] {}: expected an f32 or f64 tensor, got {}", op, name, describe(t));
}

// Throws Error unless `t` has `rank` dimensions: what a size is read off needs it before sizes can be
// compared.
inline void expect_rank(const char* op, const char* name, const TensorRef& t, int rank) {
    if (t.rank() != rank) fail("[{}] {}: expected a tensor of rank {}, got {}", op, name, rank, describe(t));
}

}  // namespace adder
