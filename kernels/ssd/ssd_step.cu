// One step of ssd.h for each row of a batch.
//
// A warp owns four channels p of one (b, h); its lanes share the states n of a channel, V at a time. Nothing
// depends on another row. The sum over n: within a lane in order, then over the lanes by halving distances.
// Bytes: 8 B H P N for the state; x, y, B, C are small beside it. Bound by memory. Parameters are read before
// the kernels before have ended.
#include "kernels/common/launch_step.cuh"
#include "kernels/ssd/ssd_tile.cuh"

namespace adder::cuda {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kRows = 4;  // channels of a warp

template <class T>
struct Step {
    SsdInputs<T> in;
    View<float, 4> h;
    View<T, 3> y;
    bool settled;
};

template <class T, int V>
__global__ void __launch_bounds__(kThreads) step_kernel(Step<T> s) {
    const SsdInputs<T>& in = s.in;
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int64_t row = blockIdx.x;
    const int b = static_cast<int>(row / in.H), h = static_cast<int>(row % in.H);
    const int p0 = (static_cast<int>(blockIdx.y) * kWarps + warp) * kRows, rows = in.P - p0;
    const float A = -expf(in.A_log[h]), bias = in.dt_bias[h], skip = in.D[h];
    release_next();
    int n = lane * V;
    float* at = &s.h(b, h, p0 < in.P ? p0 : 0, n < in.N ? n : 0);
    const int64_t stride = s.h.stride[2];
    float state[kRows][V];
    const auto load_states = [&] {
#pragma unroll
        for (int r = 0; r < kRows; ++r)
            if (r < rows && n < in.N) load<V>(at + r * stride, state[r]);
    };
    // The state is on its way while the scalars are made of what is in the caches.
    if (s.settled) load_states();
    wait_for_previous();
    if (!s.settled) load_states();
    const T* keys = &in.Bm(b, 0, in.group(h) * in.N);
    const T* queries = &in.C(b, 0, in.group(h) * in.N);
    float x[kRows], sum[kRows] = {};
    const T* from = &in.x(b, 0, h * in.P + (p0 < in.P ? p0 : 0));
#pragma unroll
    for (int r = 0; r < kRows; ++r) x[r] = r < rows ? to_float(from[r]) : 0.0f;
    const SsdStepScalars scalars = ssd_step_scalars(to_float(in.dt_raw(b, 0, h)) + bias, A, in.zoh);
    const float decay = expf(scalars.log_decay());
    const bool starts = in.start && in.start(b, 0) != 0;
    while (n < in.N) {
        float key[V], query[V];
        load<V>(keys + n, key);
        load<V>(queries + n, query);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (r >= rows) break;
            const float gain = scalars.gain * x[r];
#pragma unroll
            for (int v = 0; v < V; ++v) {
                state[r][v] = decay * (starts ? 0.0f : state[r][v]) + gain * key[v];
                sum[r] += state[r][v] * query[v];
            }
            store<V>(at + r * stride, state[r]);
        }
        n += kWarp * V;
        at += kWarp * V;
        load_states();
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const float y = warp_sum(sum[r]) + skip * x[r];
        if (lane == 0 && r < rows) s.y(b, 0, h * in.P + p0 + r) = from_float<T>(y);
    }
}

// Rows that can be read in fours.
bool in_fours(const TensorRef& t) {
    if (reinterpret_cast<uintptr_t>(t.data) % (4 * size_of(t.dtype)) != 0) return false;
    for (int d = 0; d + 1 < t.rank(); ++d)
        if (t.size(d) > 1 && t.stride[static_cast<size_t>(d)] % 4 != 0) return false;
    return true;
}

template <class T>
void step(Ctx& ctx, const SsdArgs& args, const TensorRef& h, const TensorRef& y, bool settled) {
    const Step<T> s{ssd_inputs<T>(args), h.as<float, 4>("[ssd_step] h"), y.as<T, 3>("[ssd_step] y"), settled};
    const bool vectors =
        vector_width(s.h, s.in.N) >= 4 && in_fours(args.B) && in_fours(args.C) && s.in.N % 4 == 0;
    const dim3 grid(blocks(static_cast<int64_t>(s.in.B) * s.in.H),
                    static_cast<unsigned>(ceil_div(s.in.P, kWarps * kRows)));
    launch_step(ctx.gpu->stream(), grid, dim3(kThreads), 0, vectors ? step_kernel<T, 4> : step_kernel<T, 1>,
                s);
}

}  // namespace

void ssd_step(Ctx& ctx, const SsdArgs& args, const TensorRef& h, const TensorRef& y, bool settled) {
    // The products of more than 16 rows in bf16 let the next kernel start only when all before them has
    // ended.
    constexpr int64_t kFewRows = 16;
    if (args.x.dtype == DType::bf16)
        step<bf16>(ctx, args, h, y, settled && args.x.size(0) > kFewRows);
    else
        step<float>(ctx, args, h, y, false);
}

}  // namespace adder::cuda
