// One step of the scan with the projection of its step sizes in front.
//
// Mapping: a warp has eight neighbouring channels and walks up to eight rows of them. The projection is the
// upper half of one tile of tensor cores, eight rows by eight channels, of which a lane holds two channels of
// a row: it makes step size, gate and skip of these and leaves them in shared memory. Then four lanes share a
// channel, four states each, so that the states of a warp's row are 512 bytes in a row. Those of all rows are
// copied to shared memory at once, before the kernel before has ended where the caller says that they may be;
// parameters are loaded as early. Bytes: the state twice, 8 B D N, beside which the rest is small: bound by
// memory from about 16 rows on, by the latency of one load below. Order of sums: the projection as the
// instruction has it, 16 at a time; a lane's states, then the lanes by a butterfly. A row's bits depend on
// nothing outside the row. Needs N = 16, R <= 64 a multiple of 4, rows of quads aligned.
#include "kernels/common/launch_step.cuh"
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

constexpr int kThreads = 128;
constexpr int kLanes = 4, kQuad = 4, kStateSize = kLanes * kQuad;  // of a channel
constexpr int kChannels = kWarp / kLanes;                          // of a warp
constexpr int kMostRows = 8;                                       // of a block
constexpr int kResident = 6;                                       // blocks that a multiprocessor has at once
constexpr int kDepth = 16, kMostDepths = 4;                        // of R an instruction: R <= 64
// Up to so many rows products let the next kernel start before their own input is there.
constexpr int kFewRows = 16;

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
    bool settled;
};

// Of a block: x's part of each row, what its channels make of a row, the states of its threads.
struct Room {
    float (*keys)[2 * kStateSize];         // [row]: B, then C
    float4 (*scalars)[kThreads / kLanes];  // [row][channel]: step size, gain, skip u, gate
    float4 (*states)[kThreads];            // [row]

    __device__ __forceinline__ explicit Room(int rows)
        : keys(reinterpret_cast<float (*)[2 * kStateSize]>(dynamic_shared<float>())),
          scalars(reinterpret_cast<float4 (*)[kThreads / kLanes]>(keys + rows)),
          states(reinterpret_cast<float4 (*)[kThreads]>(scalars + rows)) {}
    static size_t bytes(int rows) {
        return sizeof(float) * static_cast<size_t>(rows) * (2 * kStateSize + kThreads + kThreads * kQuad);
    }
};

// Four elements of a row of x or of the projection's weight, zeros past R. Which k meets which is the same in
// both, so the order inside an instruction does not matter, and all loads are eight bytes.
__device__ __forceinline__ uint2 load_four(const bf16* row, int k, int R) {
    return k < R ? *reinterpret_cast<const uint2*>(row + k) : make_uint2(0, 0);
}

// Four floats of B or C of rows [first, first + rows) a thread.
struct Keys {
    static constexpr int kQuads = 2 * kStateSize / kQuad;
    static_assert(kMostRows * kQuads <= kThreads);
    float four[kQuad] = {};
    int row, n;

    __device__ __forceinline__ Keys(const Problem& p, int64_t first, int rows)
        : row(static_cast<int>(threadIdx.x) / kQuads), n(threadIdx.x % kQuads * kQuad) {
        const bool is_C = n >= kStateSize;
        const int64_t b = first + min(row, rows - 1);
        load<kQuad>((is_C ? p.C - kStateSize : p.B) + b * (is_C ? p.C_stride : p.B_stride) + n, four);
    }
    __device__ __forceinline__ void keep(int rows, const Room& room) const {
        if (row < rows) store<kQuad>(&room.keys[row][n], four);
    }
};

// Step size, gain, skip and gate of rows [first, first + rows) for the warp's channels, from the channel d0
// on.
template <bool kZoh>
class Scalars {
  public:
    // What belongs to the channels alone.
    __device__ __forceinline__ Scalars(const Problem& p, int d0)
        : group_(static_cast<int>(threadIdx.x) % kWarp / 4), pair_(threadIdx.x % 4), d0_(d0) {
        const bf16* const row = p.weight + min(d0 + group_, p.n_channels - 1) * p.weight_stride;
#pragma unroll
        for (int q = 0; q < kMostDepths; ++q) weight_[q] = load_four(row, q * kDepth + pair_ * 4, p.R);
#pragma unroll
        for (int c = 0; c < 2; ++c) bias_[c] = p.bias[channel(p, c)], skip_[c] = p.skip[channel(p, c)];
    }
    __device__ __forceinline__ void make(const Problem& p, int64_t first, int rows, const Room& room) const {
        bf16 u[2], z[2]{};
        uint2 x[kMostDepths];
        const int second = min(1, p.n_channels - 1 - channel(p, 0));
        // Rows past the last are computed from the last and not stored.
        const int64_t b = first + min(group_, rows - 1);
        const bf16 *const row = p.x + b * p.x_stride, *const u_row = p.u + b * p.u_stride + channel(p, 0);
        u[0] = u_row[0], u[1] = u_row[second];
        if (p.z) {
            const bf16* const z_row = p.z + b * p.z_stride + channel(p, 0);
            z[0] = z_row[0], z[1] = z_row[second];
        }
#pragma unroll
        for (int q = 0; q < kMostDepths; ++q) x[q] = load_four(row, q * kDepth + pair_ * 4, p.R);
        float sum[4] = {};
#pragma unroll
        for (int q = 0; q < kMostDepths; ++q)
            mma_16x8x16(sum, {x[q].x, 0, x[q].y, 0}, {weight_[q].x, weight_[q].y});
        if (group_ >= rows) return;
#pragma unroll
        for (int c = 0; c < 2; ++c) {
            const float dt = step_size(sum[c] + bias_[c]), value = to_float(u[c]), gate = to_float(z[c]);
            room.scalars[group_][static_cast<int>(threadIdx.x) / kWarp * kChannels + pair_ * 2 + c] =
                make_float4(dt, kZoh ? value : dt * value, skip_[c] * value,
                            p.z ? gate * logistic(gate) : 1.0f);
        }
    }

  private:
    __device__ __forceinline__ int channel(const Problem& p, int c) const {
        return min(d0_ + pair_ * 2 + c, p.n_channels - 1);
    }
    int group_, pair_, d0_;
    uint2 weight_[kMostDepths];
    float bias_[2], skip_[2];
};

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

// The states of rows that start, of four from row b on of which `rows` are there, become zero.
__device__ __forceinline__ void clear_starts(const Problem& p, int64_t b, int rows,
                                             float (&state)[kLanes][kQuad]) {
#pragma unroll
    for (int i = 0; i < kLanes; ++i)
        if (i < rows && p.start[(b + i) * p.start_stride] != 0)
#pragma unroll
            for (int n = 0; n < kQuad; ++n) state[i][n] = 0;
}

template <bool kZoh>
__global__ void __launch_bounds__(kThreads, kResident) step_rows(const Problem p) {
    const Room room(p.rows);
    const int tid = static_cast<int>(threadIdx.x), lane = tid % kLanes;
    const int channel0 = static_cast<int>(blockIdx.y) * (kThreads / kLanes),
              channel = channel0 + tid / kLanes, d = min(channel, p.n_channels - 1);
    const int64_t first = int64_t{blockIdx.x} * p.rows;
    const int rows = static_cast<int>(min(p.n_batch - first, int64_t{p.rows}));
    const auto copy_states = [&] {
        const float* from = p.h0 + first * p.h0_row + d * p.h0_channel + lane * kQuad;
#pragma unroll
        for (int r0 = 0; r0 < kMostRows; r0 += kLanes) {
            if (r0 < rows)
#pragma unroll
                for (int i = 0; i < kLanes; ++i, from += p.h0_row)
                    if (r0 + i < rows) copy_16_async(&room.states[r0 + i][tid], from);
            commit_copies();
        }
    };
    if (p.settled) copy_states();
    const Scalars<kZoh> scalars(p, channel0 + tid / kWarp * kChannels);
    float A2[kQuad];
    load<kQuad>(p.A_log + d * p.A_stride + lane * kQuad, A2);
    release_next();
#pragma unroll
    for (int n = 0; n < kQuad; ++n) A2[n] = -expf(A2[n]) * kLog2e;
    wait_for_previous();
    if (!p.settled) copy_states();
    const Keys keys(p, first, rows);
    scalars.make(p, first, rows, room);
    keys.keep(rows, room);
    __syncthreads();
    float* to = p.hT + first * p.hT_row + d * p.hT_channel + lane * kQuad;
    bf16* y = p.y + (first + lane) * p.y_stride + d;
    const bool mine = channel < p.n_channels;
#pragma unroll 1
    for (int r0 = 0; r0 < rows; r0 += kLanes) {
        wait_copies<kMostRows / kLanes - 1>();
        // Rows past the last are computed like the others, from what happens to be there, and not stored.
        float state[kLanes][kQuad], sum[kLanes] = {};
#pragma unroll
        for (int i = 0; i < kLanes; ++i) load<kQuad>(&room.states[r0 + i][tid].x, state[i]);
        if (p.start) clear_starts(p, first + r0, rows - r0, state);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            float B[kQuad], C[kQuad];
            load<kQuad>(&room.keys[r0 + i][lane * kQuad], B);
            load<kQuad>(&room.keys[r0 + i][kStateSize + lane * kQuad], C);
            const float2 own = *reinterpret_cast<const float2*>(&room.scalars[r0 + i][tid / kLanes]);
#pragma unroll
            for (int n = 0; n < kQuad; ++n) {
                const float x2 = own.x * A2[n], a = decay_of<bf16>(x2);
                const float gain = kZoh ? zoh_weight(own.x, x2, a, A2[n]) * own.y : own.y;
                state[i][n] = fmaf(a, state[i][n], gain * B[n]);
                sum[i] = fmaf(state[i][n], C[n], sum[i]);
            }
            if (r0 + i < rows && mine) store<kQuad>(to + i * p.hT_row, state[i]);
        }
        const float2 own = *reinterpret_cast<const float2*>(&room.scalars[r0 + lane][tid / kLanes].z);
        const float out = (sum_of_own_row(sum, lane) + own.x) * own.y;
        if (r0 + lane < rows && mine) *y = from_float<bf16>(out);
        to += kLanes * p.hT_row, y += kLanes * p.y_stride;
        commit_copies();  // an empty group, so that the next four's is as far from the newest
    }
}

// Rows of a block: few, so that many states are under way, while all blocks find room at once.
int rows_of_block(int64_t B, int64_t channel_blocks) {
    return ceil_div(B, kLanes) * channel_blocks <= kResident * kMultiprocessors ? kLanes : kMostRows;
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
        R > kDepth * kMostDepths)
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
    p.rows = rows_of_block(in.n_batch, channel_blocks);
    p.settled = dt.settled && in.n_batch > kFewRows;
    const dim3 grid(blocks(ceil_div(in.n_batch, p.rows)), static_cast<unsigned>(channel_blocks));
    launch_step(ctx.gpu->stream(), grid, kThreads, Room::bytes(p.rows),
                in.zoh ? step_rows<true> : step_rows<false>, p);
}

}  // namespace adder::cuda
