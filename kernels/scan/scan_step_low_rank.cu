// One step of the scan with the projection of its step sizes in front.
//
// Mapping: four lanes share a channel, four states and a quarter of the projection each; a warp has eight
// neighbouring channels, so that its states are 512 bytes in a row. A thread walks kRows rows, whose numbers
// are all loaded before the first is used; what belongs to the channel is loaded before the kernel before has
// ended. Bytes: the state twice, 8 B D N, beside which the rest is small: bound by memory from about 16 rows
// on, by the latency of one load below. Order of sums: the projection's quads of a lane, then the lanes by a
// butterfly; states likewise. A row's bits depend on nothing outside the row. Needs N = 16, R <= 64 a
// multiple of 4, rows of quads aligned.
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
    const dim3 grid(blocks(ceil_div(args.u.size(0), kRows)),
                    static_cast<unsigned>(ceil_div(args.u.size(2) * kLanes, kThreads)));
    launch_early(ctx.gpu->stream(), grid, kThreads, 0, step_rows, p);
}

}  // namespace adder::cuda
