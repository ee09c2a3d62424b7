// The CUDA backward of ssd.h: how a call is cut, and the two kernels that add up what blocks leave in scratch.
//
// carry: a thread owns one element of the state of one head and walks the segments of time from the end, in order.
// Bytes: 8 B segments H P width.
//
// sums: the first 3 H blocks each add one parameter gradient of one head over all chunks (thread i takes chunks i,
// i + 256, ...; then a tree, in f64) to what is there. The others own one element of d_B or d_C a thread and add the sets
// of heads in order. Bytes: 12 H B chunks + (4 sets + storage) 2 B L G N.
#include <algorithm>

#include "kernels/common/multiprocessors.h"
#include "kernels/ssd/ssd_backward.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;
// Blocks that fill the GPU this is laid out for: three of `states` or one of `chunk` on each multiprocessor.
constexpr int64_t kFullStates = 3 * kMultiprocessors, kFullChunk = kMultiprocessors;
constexpr int64_t kMinSegment = 2;

struct CarryArgs {
    float* carry;
    const float* decay;
    View<float, 4> d_h;
    int64_t heads, cells;  // B * H; P * width
    int H, N, width, segments;
};

__global__ void __launch_bounds__(kThreads) carry_kernel(CarryArgs a) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, head = i / a.cells, cell = i % a.cells;
    if (head >= a.heads) return;
    const int b = static_cast<int>(head / a.H), h = static_cast<int>(head % a.H);
    const int p = static_cast<int>(cell / a.width), n = static_cast<int>(cell % a.width);
    if (n >= a.N) return;
    const int64_t step = a.H * a.cells, first = static_cast<int64_t>(b) * a.segments;
    float* carry = a.carry + first * step + h * a.cells + cell;
    const float* decays = a.decay + first * a.H + h;
    float d = a.d_h ? a.d_h(b, h, p, n) : 0.0f;
#pragma unroll 4
    for (int seg = a.segments - 1; seg > 0; --seg) {
        const float added = carry[seg * step], decay = decays[static_cast<int64_t>(seg) * a.H];
        carry[seg * step] = d;
        d = decay < 0 ? added : decay * d + added;
    }
    carry[0] = d;
}

struct SumArgs {
    const float *sums, *rows;
    float *d_A_log, *d_D, *d_dt_bias;
    void *d_B, *d_C;  // bf16 or f32
    int64_t d_B_stride[2], d_C_stride[2];
    int64_t chunks, rows_L, rows_total, width;  // B * chunks; L; B * L; G * N
    int H, sets;
    bool bf16_storage;
};

__global__ void __launch_bounds__(kThreads) sums_kernel(SumArgs a) {
    __shared__ double room[kThreads / kWarp];
    const int64_t block = blockIdx.x;
    if (block < 3 * a.H) {
        const float* from = a.sums + block * a.chunks;
        double sum = 0;
        for (int64_t i = threadIdx.x; i < a.chunks; i += kThreads) sum += static_cast<double>(from[i]);
        sum = block_sum<kThreads>(sum, room);
        const int kind = static_cast<int>(block / a.H), h = static_cast<int>(block % a.H);
        float* to = kind == 0 ? a.d_A_log : kind == 1 ? a.d_D : a.d_dt_bias;
        if (threadIdx.x == 0) to[h] += static_cast<float>(sum);
        return;
    }
    const int64_t cells = a.rows_total * a.width, i = (block - 3 * a.H) * kThreads + threadIdx.x;
    if (i >= 2 * cells) return;
    const int64_t which = i / cells, cell = i % cells, row = cell / a.width, col = cell % a.width;
    const float* from = a.rows + which * a.sets * cells + cell;
    float sum = from[0];
    for (int s = 1; s < a.sets; ++s) sum += from[s * cells];
    const int64_t* stride = which ? a.d_C_stride : a.d_B_stride;
    void* to = which ? a.d_C : a.d_B;
    const int64_t at = row / a.rows_L * stride[0] + row % a.rows_L * stride[1] + col;
    if (a.bf16_storage)
        static_cast<bf16*>(to)[at] = from_float<bf16>(sum);
    else
        static_cast<float*>(to)[at] = sum;
}

template <class T>
SsdBackwardArgs<T> backward_args(const SsdBackwardPlan& plan, const SsdArgs& args, const TensorRef& chunk_states,
                                 const SsdGrads& g, void* scratch) {
    char* base = static_cast<char*>(scratch);
    const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(base + at); };
    SsdBackwardArgs<T> a{};
    a.in = ssd_inputs<T>(args);
    a.d_y = g.d_y.as<const T, 3>("[ssd] d_y");
    a.d_x = g.d_x.as<T, 3>("[ssd] d_x");
    a.d_dt_raw = g.d_dt_raw.as<T, 3>("[ssd] d_dt_raw");
    a.d_B = g.d_B.as<T, 3>("[ssd] d_B");
    a.d_C = g.d_C.as<T, 3>("[ssd] d_C");
    a.d_h = g.d_h.as<float, 4>("[ssd] d_h");
    a.states = chunk_states.data;
    a.d_states = base + plan.d_states;
    a.carry = floats(plan.carry), a.decay = floats(plan.decay);
    a.rows = plan.partial_rows() ? floats(plan.rows) : nullptr;
    a.sums = floats(plan.sums);
    a.steps = {floats(plan.hi), plan.bf16_storage ? nullptr : floats(plan.lo), floats(plan.gain), plan.chunks};
    a.segment = plan.segment, a.segments = static_cast<int>(plan.segments);
    a.width = static_cast<int>(plan.width);
    a.heads = static_cast<int>(plan.heads), a.sets = static_cast<int>(plan.sets);
    constexpr int kUnit = 16 / sizeof(T);
    const auto whole_units = [&](const auto& v, int64_t n) { return vector_width(v, n) == kUnit; };
    a.vector = whole_units(a.in.x, plan.P) && whole_units(a.d_y, plan.P) && whole_units(a.d_x, plan.P) &&
               whole_units(a.in.Bm, plan.N) && whole_units(a.in.C, plan.N) && whole_units(a.d_B, plan.N) &&
               whole_units(a.d_C, plan.N) && reinterpret_cast<uintptr_t>(a.states) % 16 == 0;
    return a;
}

template <class T>
SumArgs sum_args(const SsdBackwardPlan& plan, const SsdBackwardArgs<T>& a, const SsdGrads& g) {
    SumArgs s{};
    s.sums = a.sums, s.rows = a.rows;
    s.d_A_log = g.d_A_log.ptr<float>("[ssd] d_A_log");
    s.d_D = g.d_D.ptr<float>("[ssd] d_D");
    s.d_dt_bias = g.d_dt_bias.ptr<float>("[ssd] d_dt_bias");
    s.d_B = a.d_B.data, s.d_C = a.d_C.data;
    for (int r = 0; r < 2; ++r) s.d_B_stride[r] = a.d_B.stride[r], s.d_C_stride[r] = a.d_C.stride[r];
    s.chunks = plan.B * plan.chunks, s.rows_L = plan.L, s.rows_total = plan.B * plan.L, s.width = plan.G * plan.N;
    s.H = a.in.H, s.sets = a.sets;
    s.bf16_storage = plan.bf16_storage;
    return s;
}

template <class T>
void backward(Ctx& ctx, const SsdBackwardPlan& plan, const SsdBackwardArgs<T>& a, const SsdGrads& g) {
    const auto states = [&](bool local) {
        if constexpr (std::is_same_v<T, bf16>)
            if (plan.tensor) return ssd_states_tensor(ctx, a, local);
        ssd_states_general(ctx, a, local);
    };
    ssd_prepare_steps(ctx, a.in, a.steps);
    if (plan.segments > 1) {
        states(true);
        const CarryArgs carry{a.carry, a.decay, a.d_h,   plan.B * plan.H, plan.P * plan.width,
                              a.in.H,  a.in.N,  a.width, a.segments};
        launch(ctx.gpu->stream(), dim3(blocks(ceil_div(carry.heads * carry.cells, kThreads))), dim3(kThreads), 0,
               carry_kernel, carry);
    }
    states(false);
    const auto chunk = [&] {
        if constexpr (std::is_same_v<T, bf16>)
            if (plan.tensor) return ssd_chunk_tensor(ctx, a);
        ssd_chunk_general(ctx, a);
    };
    chunk();
    const int64_t cells = plan.partial_rows() ? 2 * plan.B * plan.L * plan.G * plan.N : 0;
    launch(ctx.gpu->stream(), dim3(blocks(3 * plan.H + ceil_div(cells, kThreads))), dim3(kThreads), 0, sums_kernel,
           sum_args(plan, a, g));
}

}  // namespace

SsdBackwardPlan::SsdBackwardPlan(const SsdArgs& args)
    : B(args.x.size(0)),
      L(args.x.size(1)),
      H(args.A_log.size(0)),
      P(args.x.size(2) / H),
      N(args.N),
      G(args.G),
      chunks(ceil_div(L, kSsdChunk)),
      bf16_storage(args.x.dtype == DType::bf16),
      tensor(ssd_chunk_states_dtype(args.x.dtype, P, N) == DType::bf16),
      width(ceil_div(N, 8) * 8) {
    const int64_t walks = B * H * ceil_div(P, 64) * (tensor ? 1 : ceil_div(N, 64));
    // Two waves of blocks, unless one pass over everything already fills two thirds of the GPU.
    segments = 3 * walks >= 2 * kFullStates ? 1 : ceil_div(2 * kFullStates, walks);
    segment = std::max(kMinSegment, ceil_div(chunks, segments));
    segments = ceil_div(chunks, segment);
    const int64_t in_group = H / G, groups = B * chunks * G;
    heads = ceil_div(in_group, std::min(in_group, std::max<int64_t>(1, kFullChunk / groups)));
    sets = ceil_div(in_group, heads);
    int64_t at = 0;
    const auto take = [&](int64_t n) {
        const int64_t begin = at;
        at += ceil_div(n, 256) * 256;
        return begin;
    };
    const int64_t f32 = sizeof(float), steps = ssd_steps_floats(B, L, H) * f32, state = P * width;
    hi = take(steps);
    lo = bf16_storage ? 0 : take(steps);
    gain = take(steps);
    d_states = take(B * chunks * H * state * size_of(ssd_chunk_states_dtype(args.x.dtype, P, N)));
    carry = segments > 1 ? take(B * segments * H * state * f32) : 0;
    decay = segments > 1 ? take(B * segments * H * f32) : 0;
    rows = partial_rows() ? take(2 * sets * B * L * G * N * f32) : 0;
    sums = take(3 * H * B * chunks * f32);
    bytes = at;
}

int64_t ssd_backward_scratch_bytes(const SsdArgs& args) {
    return SsdBackwardPlan(args).bytes;
}

void ssd_backward(Ctx& ctx, const SsdArgs& args, const TensorRef& chunk_states, const SsdGrads& grads, void* scratch) {
    const SsdBackwardPlan plan(args);
    if (plan.bf16_storage)
        backward(ctx, plan, backward_args<bf16>(plan, args, chunk_states, grads, scratch), grads);
    else
        backward(ctx, plan, backward_args<float>(plan, args, chunk_states, grads, scratch), grads);
}

}  // namespace adder::cuda
