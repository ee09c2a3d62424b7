// Tensor core and asynchronous copy instructions of sm_80 and newer, one function each. The only inline assembly of the
// portable kernels. Fragment layouts: PTX ISA 9.0, section 9.7.14.5.8 (mma.m16n8k16).
//
// With group = lane / 4 and pair = lane % 4, a lane holds of
//   A (16 x 16, row major)   a[0]: (group, 2 pair..+1)  a[1]: (group + 8, same)  a[2]: (group, 2 pair + 8..)  a[3]: (group + 8, same)
//   B (16 x 8: k, n)         b[0]: (2 pair..+1, group)  b[1]: (2 pair + 8..+9, group)
//   C (16 x 8, f32)          c[0..1]: (group, 2 pair..+1)  c[2..3]: (group + 8, same)
#pragma once
#include <cstdint>

namespace adder::cuda {

// c += a b, bf16 operands, f32 accumulation.
__device__ __forceinline__ void mma_16x8x16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of 16-bit elements from shared memory: lane i gives the address of row i % 8 of matrix i / 8
// (16-byte aligned); r[m] receives elements (lane / 4, 2 (lane % 4)..+1) of matrix m.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
    const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
// The same with each matrix transposed: r[m] receives elements (2 (lane % 4)..+1, lane / 4).
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row) {
    const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

// c += a b with A 16 x 8 and B 8 x 8, tf32 operands: f32 words whose low 13 bits are ignored; f32 accumulation.
//   A  a[0]: (group, pair)  a[1]: (group + 8, pair)  a[2]: (group, pair + 4)  a[3]: (group + 8, pair + 4)
//   B (k, n)  b[0]: (pair, group)  b[1]: (pair + 4, group)     C as above
__device__ __forceinline__ void mma_16x8x8_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// 2^x to two units in the last place in one instruction; subnormal arguments and results are zero.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

// 16 bytes from global to shared memory, both aligned to 16, without passing registers; zeros where not `valid`.
__device__ __forceinline__ void copy_16_async(void* shared, const void* global, bool valid = true) {
    const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(global), "r"(bytes) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// Until at most N groups of this thread are still under way. A barrier must follow before other threads' data is read.
template <int N>
__device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

// threadIdx.x, read here: what follows from it is computed again where it is wanted, which in a long loop is cheaper than
// the registers that a compiler would keep it in.
__device__ __forceinline__ int thread_here() {
    int t;
    asm volatile("mov.u32 %0, %%tid.x;\n" : "=r"(t));
    return t;
}

}  // namespace adder::cuda
