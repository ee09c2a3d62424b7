// Carries and sums of the scan that join what blocks of the large kernels leave.
#include "kernels/scan/scan_backward.cuh"

namespace adder::cuda::scan {

namespace {

constexpr int kThreads = 128;
// Segments whose ends are on their way at a time.
constexpr int kAhead = 32;
constexpr int kRowThreads = 256;
constexpr int kSumWarps = 8;

// Mapping: a thread owns one (row, state, channel), channels innermost, and walks the segments in order.
// Bytes: 8 B segments N D, and B segments D more. One exponential for each end.
__global__ __launch_bounds__(kThreads) void carry_states(const Carry c) {
    wait_for_previous();
    release_next();
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                  plane = static_cast<int64_t>(c.N) * c.n_channels;
    if (i >= c.n_batch * plane) return;
    const int64_t b = i / plane;
    const int n = static_cast<int>(i % plane / c.n_channels), d = static_cast<int>(i % c.n_channels);
    const float A2 = -expf(c.A_log(d, n)) * kLog2e;
    float h = c.first ? c.first(b, d, n) : 0.0f;
    for (int s0 = 0; s0 < c.segments; s0 += kAhead) {
        float end[kAhead], sum[kAhead];
        const auto place = [&](int k) {
            return b * c.segments + (c.reverse ? c.segments - 1 - (s0 + k) : s0 + k);
        };
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const bool valid = s0 + k < c.segments;
            end[k] = valid ? c.ends[place(k) * plane + static_cast<int64_t>(n) * c.n_channels + d] : 0.0f;
            sum[k] = valid ? c.sum_dt[place(k) * c.n_channels + d] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (s0 + k >= c.segments) break;
            c.ends[place(k) * plane + static_cast<int64_t>(n) * c.n_channels + d] = h;
            h = sum[k] == kCut ? end[k] : fmaf(decay_of<float>(sum[k] * A2), h, end[k]);
        }
    }
    if (c.last) c.last(b, d, n) = h;
}

// Mapping: a thread owns one (row and step, state) and adds d_C and d_B over the groups in order. Bytes in:
// 8 groups B L N.
__global__ __launch_bounds__(kRowThreads) void sum_rows(const RowSums p) {
    wait_for_previous();
    release_next();
    const int per_block = kRowThreads / p.N;  // rows; N <= 256
    const int i = static_cast<int>(threadIdx.x) / p.N, n = static_cast<int>(threadIdx.x) % p.N;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * per_block + i;
    if (i >= per_block || row >= p.rows) return;
    float d_C = 0.0f, d_B = 0.0f;
    for (int group = 0; group < p.groups; ++group) {
        float two[2];
        load<2>(p.sums + ((group * p.rows + row) * p.N + n) * 2, two);
        d_C += two[0], d_B += two[1];
    }
    const int64_t b = row / p.L, t = row % p.L;
    const int64_t to_B = b * p.B_stride[0] + t * p.B_stride[1] + n,
                  to_C = b * p.C_stride[0] + t * p.C_stride[1] + n;
    if (p.storage == DType::f32) {
        static_cast<float*>(p.d_B)[to_B] = d_B;
        static_cast<float*>(p.d_C)[to_C] = d_C;
    } else {
        static_cast<bf16*>(p.d_B)[to_B] = from_float<bf16>(d_B);
        static_cast<bf16*>(p.d_C)[to_C] = from_float<bf16>(d_C);
    }
}

// Mapping: a block owns 32 channels of one of the N + 2 sums; each of its 8 warps adds every eighth row in
// order, the first adds the warps in order.
__global__ __launch_bounds__(kWarp* kSumWarps) void sum_parameters(const ParameterSums p) {
    wait_for_previous();
    release_next();
    __shared__ float of_warp[kSumWarps][kWarp];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int d = static_cast<int>(blockIdx.x) * kWarp + lane, which = static_cast<int>(blockIdx.y);
    float sum = 0.0f;
    if (d < p.n_channels) {
#pragma unroll 8
        for (int row = warp; row < p.rows; row += kSumWarps)
            sum += p.parameters[(static_cast<int64_t>(row) * (p.N + 2) + which) * p.n_channels + d];
    }
    of_warp[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || d >= p.n_channels) return;
    float total = 0.0f;
    for (int w = 0; w < kSumWarps; ++w) total += of_warp[w][lane];
    (which < p.N ? p.d_A_log(d, which) : which == p.N ? p.d_D(d) : p.d_dt_bias(d)) += total;
}

}  // namespace

void add_rows(cudaStream_t stream, const RowSums& p) {
    launch_early(stream, blocks(ceil_div(p.rows, kRowThreads / p.N)), kRowThreads, 0, sum_rows, p);
}

void add_parameters(cudaStream_t stream, const ParameterSums& p) {
    const dim3 grid(static_cast<unsigned>(ceil_div(p.n_channels, kWarp)), static_cast<unsigned>(p.N + 2));
    launch_early(stream, grid, kWarp * kSumWarps, 0, sum_parameters, p);
}

void carry(cudaStream_t stream, const Carry& c) {
    const int64_t chains = static_cast<int64_t>(c.n_batch) * c.N * c.n_channels;
    launch_early(stream, blocks(ceil_div(chains, kThreads)), kThreads, 0, carry_states, c);
}

}  // namespace adder::cuda::scan
