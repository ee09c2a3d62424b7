// One step of the scan with the projection of its step sizes in front.
//
// Mapping: four lanes share a channel, four states and a quarter of the projection each; a warp has eight
// neighbouring channels, so that its states are 512 bytes in a row. A warp walks rows in fours, whose states
// are all under way at once; of a row of four, what belongs to a channel as a whole (step size, gate, output)
// one lane does for the others. What belongs to the channel alone is loaded before the kernel before has
// ended, and so are the first states where the caller says that they may be. Bytes: the state twice, 8 B D N,
// beside which the rest is small: bound by memory from about 16 rows on, by the latency of one load below.
// Order of sums: the projection's quads of a lane, then the lanes by a butterfly; states likewise. A row's
// bits depend on nothing outside the row. Needs N = 16, R <= 64 a multiple of 4, rows of quads aligned.
#include "kernels/common/launch_step.cuh"
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

constexpr int kThreads = 128, kLanes = 4, kQuad = 4, kMostQuads = 4;  // quads of a lane: R <= 64
constexpr int kStateSize = kLanes * kQuad;
constexpr int kMostRows = 8;                              // of a block
constexpr int kProjection = kLanes * kQuad * kMostQuads;  // floats of x
constexpr int kRowFloats = kProjection + 2 * kStateSize, kRowQuads = kRowFloats / kQuad;
constexpr int kFewRows =
    16;  // up to so many rows products let the next kernel start before their own input is there

// Rows as addresses and strides, in elements.
struct Problem {
    const bf16 *x, *B, *C, *u, *z, *weight;
    const float *A_log, *skip, *bias, *h0;
    const uint8_t* start;
    float* hT;
    bf16* y;
    int64_t x_stride, B_stride, C_stride, u_stride, z_stride, weight_stride, A_stride, start_stride;
    int64_t h0_row, h0_channel, hT_row, hT_channel, y_stride;
    int64_t n_batch;
    int n_channels, R, rows;  // of a block
    bool zoh, settled;
};

// What belongs to a lane's channel alone.
struct Channel {
    Packed<bf16, kQuad> weight[kMostQuads] = {};
    float A2[kQuad], skip, bias;

    __device__ __forceinline__ Channel(const Problem& p, int d, int lane) {
        const bf16* const from = p.weight + d * p.weight_stride + lane * kQuad;
#pragma unroll
        for (int q = 0; q < kMostQuads; ++q)
            if ((q * kLanes + lane) * kQuad < p.R) weight[q] = load_packed<kQuad>(from + q * kLanes * kQuad);
        load<kQuad>(p.A_log + d * p.A_stride + lane * kQuad, A2);
        skip = p.skip[d], bias = p.bias[d];
    }
    __device__ __forceinline__ void finish() {
#pragma unroll
        for (int i = 0; i < kQuad; ++i) A2[i] = -expf(A2[i]) * kLog2e;
    }
};

// x, B and C of rows [first, first + rows), as floats.
__device__ __forceinline__ void load_shared(const Problem& p, int64_t first, int rows,
                                            float (*room)[kRowFloats]) {
    for (int i = static_cast<int>(threadIdx.x); i < rows * kRowQuads; i += kThreads) {
        const int r = i / kRowQuads, k = i % kRowQuads * kQuad, n = k - kProjection;
        const int64_t b = first + r;
        float four[kQuad] = {};
        if (n >= kStateSize)
            load<kQuad>(p.C + b * p.C_stride + n - kStateSize, four);
        else if (n >= 0)
            load<kQuad>(p.B + b * p.B_stride + n, four);
        else if (k < p.R)
            load<kQuad>(p.x + b * p.x_stride + k, four);
        store<kQuad>(&room[r][k], four);
    }
}

// Lane i of four gets the sum over the four of its row i, in the order of warp_sum<4>.
__device__ __forceinline__ float sum_of_own_row(const float (&row)[kLanes], int lane) {
    const bool upper = (lane & 2) != 0, odd = (lane & 1) != 0;
    float pair[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const float others = __shfl_xor_sync(kFullWarp, upper ? row[i] : row[i + 2], 2);
        pair[i] = (upper ? row[i + 2] : row[i]) + others;
    }
    const float others = __shfl_xor_sync(kFullWarp, odd ? pair[0] : pair[1], 1);
    return (odd ? pair[1] : pair[0]) + others;
}

__global__ void __launch_bounds__(kThreads, 6) step_rows(const Problem p) {
    __shared__ __align__(16) float room[kMostRows][kRowFloats];
    const int tid = static_cast<int>(threadIdx.x), lane = tid % kLanes;
    const int channel = (static_cast<int>(blockIdx.y) * kThreads + tid) / kLanes,
              d = min(channel, p.n_channels - 1);
    const int64_t first = int64_t{blockIdx.x} * p.rows;
    const int rows = static_cast<int>(min(p.n_batch - first, int64_t{p.rows}));
    Channel own(p, d, lane);
    const float* from = p.h0 + first * p.h0_row + d * p.h0_channel + lane * kQuad;
    float* to = p.hT + first * p.hT_row + d * p.hT_channel + lane * kQuad;
    // Of the lane's own row of four.
    const bf16 *u_from = p.u + (first + lane) * p.u_stride + d,
               *z_from = p.z + (first + lane) * p.z_stride + d;
    bf16* y = p.y + (first + lane) * p.y_stride + d;
    float state[kLanes][kQuad] = {};
    const auto load_states = [&] {
#pragma unroll
        for (int i = 0; i < kLanes; ++i)
            if (i < rows) load<kQuad>(from + i * p.h0_row, state[i]);
    };
    if (p.settled) load_states();
    release_next();
    own.finish();
    wait_for_previous();
    if (!p.settled) load_states();
    bf16 u_next{}, z_next{};
    const auto load_own = [&](int r) {
        if (r >= rows) return;
        u_next = *u_from;
        if (p.z) z_next = *z_from;
        u_from += kLanes * p.u_stride, z_from += kLanes * p.z_stride;
    };
    load_own(lane);
    load_shared(p, first, rows, room);
    __syncthreads();
#pragma unroll 1
    for (int r0 = 0; r0 < rows; r0 += kLanes) {
        const float u = to_float(u_next), z = to_float(z_next);
        load_own(r0 + kLanes + lane);
        float sum[kLanes] = {};
#pragma unroll
        for (int q = 0; q < kMostQuads; ++q) {
            if (q * kLanes * kQuad >= p.R) continue;
            float weight[kQuad];
            unpack<bf16, kQuad>(own.weight[q], weight);
#pragma unroll
            for (int i = 0; i < kLanes; ++i) {
                if (r0 + i >= rows) continue;
                float x[kQuad];
                load<kQuad>(&room[r0 + i][(q * kLanes + lane) * kQuad], x);
#pragma unroll
                for (int k = 0; k < kQuad; ++k) sum[i] = fmaf(x[k], weight[k], sum[i]);
            }
        }
        const float dt_own = step_size(sum_of_own_row(sum, lane) + own.bias);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            sum[i] = 0;
            if (r0 + i >= rows) continue;
            float B[kQuad], C[kQuad];
            load<kQuad>(&room[r0 + i][kProjection + lane * kQuad], B);
            load<kQuad>(&room[r0 + i][kProjection + kStateSize + lane * kQuad], C);
            const float dt = __shfl_sync(kFullWarp, dt_own, i, kLanes),
                        u_now = __shfl_sync(kFullWarp, u, i, kLanes);
            const float dt_u = dt * u_now;
            if (p.start && p.start[(first + r0 + i) * p.start_stride] != 0)
#pragma unroll
                for (int n = 0; n < kQuad; ++n) state[i][n] = 0;
#pragma unroll
            for (int n = 0; n < kQuad; ++n) {
                const float x2 = dt * own.A2[n], a = decay_of<bf16>(x2);
                const float gain = p.zoh ? zoh_weight(dt, x2, a, own.A2[n]) * u_now : dt_u;
                state[i][n] = fmaf(a, state[i][n], gain * B[n]);
                sum[i] = fmaf(state[i][n], C[n], sum[i]);
            }
            if (channel < p.n_channels) store<kQuad>(to + i * p.hT_row, state[i]);
            // The row four rows on takes its place.
            if (r0 + kLanes + i < rows) load<kQuad>(from + (kLanes + i) * p.h0_row, state[i]);
        }
        float out = fmaf(own.skip, u, sum_of_own_row(sum, lane));
        if (p.z) out *= z * logistic(z);
        if (r0 + lane < rows && channel < p.n_channels) *y = from_float<bf16>(out);
        from += kLanes * p.h0_row, to += kLanes * p.hT_row, y += kLanes * p.y_stride;
    }
}

// Rows of a block: as few fours as keep all blocks on the GPU at once.
int rows_of_block(int64_t B, int64_t channel_blocks) {
    constexpr int64_t kResident = 6 * kMultiprocessors;
    int rows = kLanes;
    while (rows < kMostRows && ceil_div(B, rows) * channel_blocks > kResident) rows *= 2;
    return rows;
}

// Rows can be read in quads.
template <class T, int R>
bool in_quads(const View<T, R>& v) {
    return vector_width(v, v.shape[R - 1]) >= kQuad || v.data == nullptr;
}

}  // namespace

bool scan_step_low_rank_fits(const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT) {
    const int64_t R = dt.weight.size(1);
    if (args.u.dtype != DType::bf16 || args.A_log.size(1) != kStateSize || R % kQuad != 0 ||
        R > kLanes * kQuad * kMostQuads)
        return false;
    return in_quads(args.B.as<const bf16, 3>("B")) && in_quads(args.C.as<const bf16, 3>("C")) &&
           in_quads(dt.x.as<const bf16, 3>("x")) && in_quads(dt.weight.as<const bf16, 2>("weight")) &&
           in_quads(args.A_log.as<const float, 2>("A_log")) && in_quads(args.h0.as<const float, 3>("h0")) &&
           in_quads(hT.as<float, 3>("hT"));
}

void scan_step_low_rank(Ctx& ctx, const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT,
                        const TensorRef& y) {
    const Inputs<bf16> in = inputs_of<bf16>(args, Lanes(args.u.size(2), kStateSize, 1), {1, 1});
    const auto x = dt.x.as<const bf16, 3>("x");
    const auto weight = dt.weight.as<const bf16, 2>("weight");
    const auto h0 = args.h0.as<const float, 3>("h0");
    const auto to = hT.as<float, 3>("hT");
    const auto out = y.as<bf16, 3>("y");
    const int64_t channel_blocks = ceil_div(int64_t{in.n_channels} * kLanes, kThreads);
    Problem p{};
    p.x = x.data, p.x_stride = x.stride[0];
    p.B = in.B.data, p.B_stride = in.B.stride[0];
    p.C = in.C.data, p.C_stride = in.C.stride[0];
    p.u = in.u.data, p.u_stride = in.u.stride[0];
    if (in.z) p.z = in.z.data, p.z_stride = in.z.stride[0];
    p.weight = weight.data, p.weight_stride = weight.stride[0];
    p.A_log = in.A_log.data, p.A_stride = in.A_log.stride[0];
    p.skip = in.D.data, p.bias = in.dt_bias.data;
    if (in.start) p.start = in.start.data, p.start_stride = in.start.stride[0];
    p.h0 = h0.data, p.h0_row = h0.stride[0], p.h0_channel = h0.stride[1];
    p.hT = to.data, p.hT_row = to.stride[0], p.hT_channel = to.stride[1];
    p.y = out.data, p.y_stride = out.stride[0];
    p.n_batch = in.n_batch, p.n_channels = in.n_channels, p.R = static_cast<int>(dt.weight.size(1));
    p.rows = rows_of_block(in.n_batch, channel_blocks), p.zoh = in.zoh;
    p.settled = dt.settled && in.n_batch > kFewRows;
    const dim3 grid(blocks(ceil_div(in.n_batch, p.rows)), static_cast<unsigned>(channel_blocks));
    launch_step(ctx.gpu->stream(), grid, kThreads, 0, step_rows, p);
}

}  // namespace adder::cuda
