// The storage types an op runs with. On the CPU f32 runs the SIMD twin and f64 the reference; on a GPU f32 and bf16 run
// the CUDA twin.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// The storage type of an op's arguments, read off `t`. Throws Error for a type or a place that the op cannot run with.
inline DType storage_of(const Ctx& ctx, const char* op, const char* name, const TensorRef& t) {
    const bool cuda = ctx.device == Device::cuda;
    const DType other = cuda ? DType::bf16 : DType::f64;
    if (t.dtype == DType::bf16 && !cuda) fail("[{}] {}: bf16 storage needs --device cuda", op, name);
    if (t.dtype != DType::f32 && t.dtype != other)
        fail("[{}] {}: expected an f32 or {} tensor, got {}", op, name, name_of(other), describe(t));
    if (t.device != ctx.device)
        fail("[{}] {}: expected on {}, is on {}", op, name, name_of(ctx.device), name_of(t.device));
    return t.dtype;
}

// Throws Error unless `t` has `rank` dimensions: what a size is read off needs it before sizes can be
// compared.
inline void expect_rank(const char* op, const char* name, const TensorRef& t, int rank) {
    if (t.rank() != rank) fail("[{}] {}: expected a tensor of rank {}, got {}", op, name, rank, describe(t));
}

// As expect, where `shape` follows from that of another argument, and either may be the wrong one: the message has both.
inline void expect_beside(const char* op, const char* name, const TensorRef& t, DType dtype, const Shape& shape,
                          const char* other_name, const Shape& other) {
    if (t.dtype != dtype || t.shape != shape)
        fail("[{}] {}: expected {} {} for {} of {}, got {}", op, name, name_of(dtype), to_string(shape), other_name,
             to_string(other), describe(t));
}

}  // namespace adder
