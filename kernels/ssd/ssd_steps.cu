// The scalars of all steps of ssd.h (SsdSteps in ssd_tile.cuh).
//
// A block makes kHeads heads of one chunk of one sequence; a warp takes every kWarps-th of them, a lane two steps that
// follow each other. dt_raw is read along the heads and turned round in shared memory, so that reads and writes are both
// of whole rows. The sum over a chunk is a warp scan in f64 that takes nothing from before a start.
// Bytes: B L H (size of storage + 4 for each array wanted). About 150 instructions for 64 steps: bound by memory.
#include "kernels/ssd/ssd_tile.cuh"

namespace adder::cuda {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp, kHeads = 32;

// Inclusive sums over the lanes, of which lane i takes only those of lanes >= from.
__device__ __forceinline__ double scan_of_warp(double x, int from) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int d = 1; d < kWarp; d *= 2) {
        const double before = __shfl_up_sync(kFullWarp, x, d);
        if (lane - d >= from) x += before;
    }
    return x;
}

template <class T>
__global__ void __launch_bounds__(kThreads) steps_kernel(SsdInputs<T> in, SsdSteps out) {
    __shared__ float raw[kChunk][kHeads + 1];
    wait_for_previous();
    release_next();
    const int b = static_cast<int>(blockIdx.x / out.chunks), h0 = static_cast<int>(blockIdx.y) * kHeads;
    const int64_t chunk = blockIdx.x % out.chunks, t0 = chunk * kChunk;
    const int rows = static_cast<int>(in.L - t0 < kChunk ? in.L - t0 : kChunk);
    const int heads = in.H - h0 < kHeads ? in.H - h0 : kHeads;
    const T* from = in.dt_raw.data + b * in.dt_raw.stride[0] + t0 * in.dt_raw.stride[1] + h0;
    for (int i = static_cast<int>(threadIdx.x); i < rows * heads; i += kThreads)
        raw[i / heads][i % heads] = to_float(from[i / heads * in.dt_raw.stride[1] + i % heads]);
    __syncthreads();

    const int lane = static_cast<int>(threadIdx.x) % kWarp, i = 2 * lane;
    const ChunkStarts starts = chunk_starts(in, b, chunk);
    // The last start up to either step of this lane, -1 = none.
    const int begin[2] = {starts.last_until(i), starts.last_until(i + 1)};
    for (int k = static_cast<int>(threadIdx.x) / kWarp; k < heads; k += kWarps) {
        const int h = h0 + k;
        const float A = -expf(in.A_log[h]), bias = in.dt_bias[h];
        SsdStepScalars s[2] = {};
#pragma unroll
        for (int j = 0; j < 2; ++j)
            if (i + j < rows) s[j] = ssd_step_scalars(raw[i + j][k] + bias, A, in.zoh);
        // Products of two floats are exact.
        const double rate = A, step[2] = {s[0].dt * rate, s[1].dt * rate};
        // A lane whose second step starts a member has that step alone; all before it are cut off.
        const double both = begin[1] == i + 1 ? step[1] : step[0] + step[1];
        const double through = scan_of_warp(both, begin[1] < 0 ? 0 : begin[1] / 2);
        const double before = __shfl_up_sync(kFullWarp, through, 1);
        constexpr double kLog2 = 1.4426950408889634;
        const double sum[2] = {(lane == 0 || begin[0] == i ? step[0] : before + step[0]) * kLog2, through * kLog2};
        const float hi[2] = {static_cast<float>(sum[0]), static_cast<float>(sum[1])};
        const int64_t at = out.row(b, h, in.H, chunk) + i;
        *reinterpret_cast<float2*>(out.hi + at) = make_float2(hi[0], hi[1]);
        if (out.gain) *reinterpret_cast<float2*>(out.gain + at) = make_float2(s[0].gain, s[1].gain);
        if (out.column)
            *reinterpret_cast<float2*>(out.column + at) = make_float2(hi[0] - log2f(s[0].gain), hi[1] - log2f(s[1].gain));
        if (out.lo)
            *reinterpret_cast<float2*>(out.lo + at) =
                make_float2(static_cast<float>(sum[0] - hi[0]), static_cast<float>(sum[1] - hi[1]));
    }
}

}  // namespace

template <class T>
void ssd_prepare_steps(Ctx& ctx, const SsdInputs<T>& in, const SsdSteps& steps) {
    const dim3 grid(blocks(in.B * steps.chunks), static_cast<unsigned>(ceil_div(in.H, kHeads)));
    launch_early(ctx.gpu->stream(), grid, dim3(kThreads), 0, steps_kernel<T>, in, steps);
}

template void ssd_prepare_steps<float>(Ctx&, const SsdInputs<float>&, const SsdSteps&);
template void ssd_prepare_steps<bf16>(Ctx&, const SsdInputs<bf16>&, const SsdSteps&);

}  // namespace adder::cuda
