// One step of the scan with the projection of its step sizes in front.
//
// Mapping: four lanes share a channel, four states and a quarter of the projection each; a warp has eight
// neighbouring channels, so that its states are 512 bytes in a row. A thread walks kRows rows, whose numbers
// are all loaded before the first is used; what belongs to the channel is loaded before the kernel before has
// ended. Bytes: the state twice, 8 B D N, beside which the rest is small: bound by memory from about 16 rows
// on, by the latency of one load below. Order of sums: the projection's quads of a lane, then the lanes by a
// butterfly; states likewise. A row's bits depend on nothing outside the row. Needs N = 16, R <= 64 a
// multiple of 4, rows of quads aligned.
#include <cstdlib>

#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

constexpr int kThreads = 128, kLanes = 4, kQuad = 4, kRows = 4, kMostQuads = 4;  // quads of a lane: R <= 64
constexpr int kStateSize = kLanes * kQuad;

struct Problem {
    Inputs<bf16> in;
    View<const bf16, 3> x;       // (B,1,R)
    View<const bf16, 2> weight;  // (D,R)
    View<const float, 3> h0;
    View<float, 3> hT;
    View<bf16, 3> y;
    int R;
};

// What a thread needs of a row.
struct Row {
    float state[kQuad];
    Packed<bf16, kQuad> B, C, x[kMostQuads];
    bf16 u, z;

    __device__ __forceinline__ void load_from(const Problem& p, int64_t b, int d, int lane) {
        load<kQuad>(&p.h0(b, d, lane * kQuad), state);
        B = load_packed<kQuad>(&p.in.B(b, 0, lane * kQuad));
        C = load_packed<kQuad>(&p.in.C(b, 0, lane * kQuad));
#pragma unroll
        for (int q = 0; q < kMostQuads; ++q) {
            const int r = (q * kLanes + lane) * kQuad;
            x[q] = Packed<bf16, kQuad>{};
            if (r < p.R) x[q] = load_packed<kQuad>(&p.x(b, 0, r));
        }
        u = p.in.u(b, 0, d);
        z = p.in.z ? p.in.z(b, 0, d) : bf16{};
    }
};

__global__ void __launch_bounds__(kThreads) step_rows(const Problem p) {
    const Inputs<bf16>& in = p.in;
    const int channel = (static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x)) / kLanes;
    const int lane = static_cast<int>(threadIdx.x) % kLanes, d = min(channel, in.n_channels - 1);
    float weight[kMostQuads][kQuad] = {}, A2[kQuad];
#pragma unroll
    for (int q = 0; q < kMostQuads; ++q) {
        const int r = (q * kLanes + lane) * kQuad;
        if (r < p.R) load<kQuad>(&p.weight(d, r), weight[q]);
    }
    load<kQuad>(&in.A_log(d, lane * kQuad), A2);
    const float skip = in.D(d), bias = in.dt_bias(d);
    release_next();
    wait_for_previous();
#pragma unroll
    for (int i = 0; i < kQuad; ++i) A2[i] = -expf(A2[i]) * kLog2e;

    const int64_t first = int64_t{blockIdx.x} * kRows;
    const int rows = static_cast<int>(min(in.n_batch - first, int64_t{kRows}));
    Row row[kRows] = {};
#pragma unroll
    for (int i = 0; i < kRows; ++i)
        if (i < rows && channel < in.n_channels) row[i].load_from(p, first + i, d, lane);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (i >= rows) continue;
        const int64_t b = first + i;
        float raw = 0;
#pragma unroll
        for (int q = 0; q < kMostQuads; ++q) {
            float x[kQuad];
            unpack<bf16, kQuad>(row[i].x[q], x);
#pragma unroll
            for (int r = 0; r < kQuad; ++r) raw = fmaf(x[r], weight[q][r], raw);
        }
        const float dt = step_size(warp_sum<kLanes>(raw) + bias), u = to_float(row[i].u);
        const bool start = in.start && in.start(b, 0) != 0;
        float B[kQuad], C[kQuad], sum = 0;
        unpack<bf16, kQuad>(row[i].B, B);
        unpack<bf16, kQuad>(row[i].C, C);
#pragma unroll
        for (int n = 0; n < kQuad; ++n) {
            const float x2 = dt * A2[n], a = decay_of<bf16>(x2);
            const float gain = in.zoh ? zoh_weight(dt, x2, a, A2[n]) : dt;
            row[i].state[n] = fmaf(a, start ? 0.0f : row[i].state[n], gain * u * B[n]);
            sum = fmaf(row[i].state[n], C[n], sum);
        }
        sum = warp_sum<kLanes>(sum);
        if (channel >= in.n_channels) continue;
        store<kQuad>(&p.hT(b, d, lane * kQuad), row[i].state);
        float out = fmaf(skip, u, sum);
        if (in.z) {
            const float z = to_float(row[i].z);
            out *= z * logistic(z);
        }
        if (lane == 0) p.y(b, 0, d) = from_float<bf16>(out);
    }
}

// ---- many rows ----

constexpr int kMostRows = 8, kAhead = 4;                        // of a block; whose states are under way at once
constexpr int kProjection = kLanes * kQuad * kMostQuads;        // floats of x
constexpr int kRowFloats = kProjection + 2 * kStateSize, kRowQuads = kRowFloats / kQuad;

// Rows as addresses and strides, in elements.
struct RowsProblem {
    const bf16 *x, *B, *C, *u, *z, *weight;
    const float *A_log, *skip, *bias, *h0;
    const uint8_t* start;
    float* hT;
    bf16* y;
    int64_t x_stride, B_stride, C_stride, u_stride, z_stride, weight_stride, A_stride, start_stride;
    int64_t h0_row, h0_channel, hT_row, hT_channel, y_stride;
    int64_t n_batch;
    int n_channels, R, rows;  // of a block
    bool zoh;
};

struct RowInputs {
    float state[kQuad];
    bf16 u, z;
};

__global__ void __launch_bounds__(kThreads, 6) step_many_rows(const RowsProblem p) {
    __shared__ __align__(16) float room[kMostRows][kRowFloats];  // x, B, C
    const int tid = static_cast<int>(threadIdx.x), lane = tid % kLanes;
    const int channel = (static_cast<int>(blockIdx.y) * kThreads + tid) / kLanes, d = min(channel, p.n_channels - 1);
    float weight[kMostQuads][kQuad] = {}, A2[kQuad];
    const bf16* const from_weight = p.weight + d * p.weight_stride + lane * kQuad;
#pragma unroll
    for (int q = 0; q < kMostQuads; ++q)
        if ((q * kLanes + lane) * kQuad < p.R) load<kQuad>(from_weight + q * kLanes * kQuad, weight[q]);
    load<kQuad>(p.A_log + d * p.A_stride + lane * kQuad, A2);
    const float skip = p.skip[d], bias = p.bias[d];
    const int64_t first = int64_t{blockIdx.x} * p.rows;
    const int rows = static_cast<int>(min(p.n_batch - first, int64_t{p.rows}));
    const float* from = p.h0 + first * p.h0_row + d * p.h0_channel + lane * kQuad;
    float* to = p.hT + first * p.hT_row + d * p.hT_channel + lane * kQuad;
    const bf16 *u = p.u + first * p.u_stride + d, *z = p.z + first * p.z_stride + d;
    bf16* y = p.y + first * p.y_stride + d;
    release_next();
    wait_for_previous();

    RowInputs row[kAhead];
    const auto load_row = [&](RowInputs& r) {
        load<kQuad>(from, r.state);
        r.u = *u;
        if (p.z) r.z = *z;
        from += p.h0_row, u += p.u_stride, z += p.z_stride;
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
        if (i < rows) load_row(row[i]);
    for (int i = tid; i < rows * kRowQuads; i += kThreads) {
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
#pragma unroll
    for (int i = 0; i < kQuad; ++i) A2[i] = -expf(A2[i]) * kLog2e;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kMostRows; ++i) {
        if (i >= rows) break;
        RowInputs& r = row[i % kAhead];
        float raw = 0, B[kQuad], C[kQuad], sum = 0;
#pragma unroll
        for (int q = 0; q < kMostQuads; ++q) {
            if (q * kLanes * kQuad >= p.R) continue;
            float x[kQuad];
            load<kQuad>(&room[i][(q * kLanes + lane) * kQuad], x);
#pragma unroll
            for (int k = 0; k < kQuad; ++k) raw = fmaf(x[k], weight[q][k], raw);
        }
        load<kQuad>(&room[i][kProjection + lane * kQuad], B);
        load<kQuad>(&room[i][kProjection + kStateSize + lane * kQuad], C);
        const float dt = step_size(warp_sum<kLanes>(raw) + bias), u_now = to_float(r.u), dt_u = dt * u_now;
        if (p.start && p.start[(first + i) * p.start_stride])
#pragma unroll
            for (int n = 0; n < kQuad; ++n) r.state[n] = 0;
#pragma unroll
        for (int n = 0; n < kQuad; ++n) {
            const float x2 = dt * A2[n], a = decay_of<bf16>(x2);
            const float gain = p.zoh ? zoh_weight(dt, x2, a, A2[n]) * u_now : dt_u;
            r.state[n] = fmaf(a, r.state[n], gain * B[n]);
            sum = fmaf(r.state[n], C[n], sum);
        }
        sum = warp_sum<kLanes>(sum);
        float out = fmaf(skip, u_now, sum);
        if (p.z) {
            const float gate = to_float(r.z);
            out *= gate * logistic(gate);
        }
        if (channel < p.n_channels) {
            store<kQuad>(to, r.state);
            if (lane == 0) *y = from_float<bf16>(out);
        }
        to += p.hT_row, y += p.y_stride;
        if (i + kAhead < rows) load_row(r);
    }
}

// Rows of a block: as few as keep all blocks on the GPU at once.
int rows_of_block(int64_t B, int64_t channel_blocks) {
    constexpr int64_t kResident = 6 * kMultiprocessors;
    int rows = 1;
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
    const Problem p{inputs_of<bf16>(args, Lanes(args.u.size(2), kStateSize, 1), {1, 1}),
                    dt.x.as<const bf16, 3>("x"),
                    dt.weight.as<const bf16, 2>("weight"),
                    args.h0.as<const float, 3>("h0"),
                    hT.as<float, 3>("hT"),
                    y.as<bf16, 3>("y"),
                    static_cast<int>(dt.weight.size(1))};
    static const char* old = std::getenv("ADDER_SCAN");
    static const int64_t direct = old ? std::atoi(old) : 2;
    if (args.u.size(0) >= direct) {
        RowsProblem r{};
        const Inputs<bf16>& in = p.in;
        r.x = p.x.data, r.x_stride = p.x.stride[0];
        r.B = in.B.data, r.B_stride = in.B.stride[0];
        r.C = in.C.data, r.C_stride = in.C.stride[0];
        r.u = in.u.data, r.u_stride = in.u.stride[0];
        r.z = in.z.data, r.z_stride = in.z ? in.z.stride[0] : 0;
        r.weight = p.weight.data, r.weight_stride = p.weight.stride[0];
        r.A_log = in.A_log.data, r.A_stride = in.A_log.stride[0];
        r.skip = in.D.data, r.bias = in.dt_bias.data;
        r.start = in.start.data, r.start_stride = in.start ? in.start.stride[0] : 0;
        r.h0 = p.h0.data, r.h0_row = p.h0.stride[0], r.h0_channel = p.h0.stride[1];
        r.hT = p.hT.data, r.hT_row = p.hT.stride[0], r.hT_channel = p.hT.stride[1];
        r.y = p.y.data, r.y_stride = p.y.stride[0];
        r.n_batch = in.n_batch, r.n_channels = in.n_channels, r.R = p.R, r.zoh = in.zoh;
        const int64_t channel_blocks = ceil_div(int64_t{in.n_channels} * kLanes, kThreads);
        r.rows = rows_of_block(r.n_batch, channel_blocks);
        static const char* per = std::getenv("ADDER_SCAN_ROWS");
        if (per) r.rows = std::atoi(per);
        return launch_early(ctx.gpu->stream(), dim3(blocks(ceil_div(r.n_batch, r.rows)), static_cast<unsigned>(channel_blocks)),
                            kThreads, 0, step_many_rows, r);
    }
    const dim3 grid(blocks(ceil_div(args.u.size(0), kRows)),
                    static_cast<unsigned>(ceil_div(args.u.size(2) * kLanes, kThreads)));
    launch_early(ctx.gpu->stream(), grid, kThreads, 0, step_rows, p);
}

}  // namespace adder::cuda
