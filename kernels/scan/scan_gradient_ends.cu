// The first pass of the scan backward with more than one segment: what the gradient of the state is at the
// beginning of each segment when it is zero at its end, and the segment's sum of dt.
//
// Mapping: as scan_forward.cu with V = 1, time reversed. Bytes: dt, d_y, z, 3 s B L D. Floor: one exponential
// and 4 issue slots for each (t, d, n).
#include "kernels/scan/scan_backward.cuh"

namespace adder::cuda::scan {

namespace {

constexpr int kTile = 32;  // steps whose rows of C are in shared memory at a time, twice
constexpr int kBatch = 4;  // steps that are on their way

template <class T>
struct Steps {
    Raw<T, 1> dt, d_y, z;
};

template <class T>
__global__ __launch_bounds__(kMaxThreads, 4) void walk_ends(const Backward<T> p) {
    wait_for_previous();
    release_next();
    const Inputs<T>& in = p.in;
    const Place at(in, 1, in.lanes_log2);
    const bool active = at.d < in.n_channels, gate = static_cast<bool>(in.z);
    const int64_t end = at.t0 + at.steps - 1;  // step 0 of this walk
    const int padded = kStates << in.lanes_log2, row_floats = 2 * padded;
    float* const shared = dynamic_shared<float>();
    const int tid = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), lane = tid % kWarp;

    float A2[kStates], g[1][kStates] = {};
    load_rates(in, at, at.d, A2);
    const float bias = active ? in.dt_bias(at.d) : 0.0f;
    Cursor<T> dt_raw{&in.dt_raw(at.b, end, at.d_read), -in.dt_raw.stride[1]};
    Cursor<T> d_y{&p.d_y(at.b, end, at.d_read), -p.d_y.stride[1]};
    Cursor<T> z{gate ? &in.z(at.b, end, at.d_read) : nullptr, -in.z.stride[1]};
    const auto load_steps = [&](int t) {
        const bool valid = t < at.steps;
        Steps<T> s;
        s.dt = dt_raw.template next<1>(valid);
        s.d_y = d_y.template next<1>(valid);
        s.z = z.template next<1>(valid && gate);
        return s;
    };
    const uint8_t* const start = in.start ? &in.start(at.b, end) : nullptr;
    const auto flag_at = [&](int t) { return start && t < at.steps && start[-t] != 0; };

    const Rows<T> rows(in, at.b, end, -1, true, false);
    for (int e = tid; e < kTile * row_floats; e += threads) shared[e] = rows(e, 0, at.steps);
    RowCursor<T> incoming(rows, tid, kTile, kBatch);
    bool flag = flag_at(lane);
    Steps<T> ahead[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) ahead[k] = load_steps(k);
    LongSum total;
    bool any_cut = false;
    __syncthreads();

    for (int tile = 0; tile < at.steps; tile += kTile) {
        const uint32_t cuts = uniform_ballot(flag);
        any_cut |= cuts != 0;
        flag = flag_at(tile + kTile + lane);
        const float* row = shared + (tile / kTile % 2) * kTile * row_floats + padded + at.n0;
        float* const next = shared + ((tile / kTile + 1) % 2) * kTile * row_floats;
        float tile_dt = 0.0f;
#pragma unroll 1
        for (int s = 0; s < kTile && tile + s < at.steps; s += kBatch) {
            Steps<T> batch[kBatch];
#pragma unroll
            for (int k = 0; k < kBatch; ++k) {
                batch[k] = ahead[k];
                ahead[k] = load_steps(tile + s + kBatch + k);
            }
            const float first = incoming.next(tile + kTile + s, at.steps);
#pragma unroll
            for (int k = 0; k < kBatch; ++k, row += row_floats) {
                const float dt = tile + s + k < at.steps ? step_size(batch[k].dt[0] + bias) : 0.0f;
                const float z_t = batch[k].z[0], dy = batch[k].d_y[0],
                            d_out = gate ? dy * (z_t * logistic(z_t)) : dy;
                tile_dt += dt;
#pragma unroll
                for (int q = 0; q < kStates; q += 4) {
                    float C[4];
                    load<4>(row + q, C);
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        g[0][q + j] = fmaf(d_out, C[j], g[0][q + j]) * decay_of<T>(dt * A2[q + j]);
                }
                zero_if(cuts >> (s + k) & 1, g);
            }
            incoming.put(first, next + s * row_floats, tile + kTile + s, at.steps);
        }
        total.add(tile_dt);
        __syncthreads();
    }
    at.plane(p.ends, in.N, in.n_channels).store(g);
    if (active && at.n0 == 0)
        p.sum_dt[static_cast<int64_t>(at.row) * in.n_channels + at.d] = any_cut ? kCut : total.value();
}

}  // namespace

size_t gradient_ends_bytes(const Lanes& lanes) {
    return size_t{2} * kTile * 2 * static_cast<size_t>(lanes.padded_states()) * sizeof(float);
}

template <class T>
void walk_gradient_ends(cudaStream_t stream, const Backward<T>& p, const Lanes& lanes) {
    const dim3 grid(blocks(int64_t{p.in.n_batch} * p.in.segments), static_cast<unsigned>(lanes.groups));
    launch_early(stream, grid, static_cast<unsigned>(lanes.threads), gradient_ends_bytes(lanes), walk_ends<T>, p);
}

template void walk_gradient_ends(cudaStream_t, const Backward<float>&, const Lanes&);
template void walk_gradient_ends(cudaStream_t, const Backward<bf16>&, const Lanes&);

}  // namespace adder::cuda::scan
