// Arguments and shared memory of the scan's backward kernels.
#pragma once
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda::scan {

inline constexpr int kChunk = static_cast<int>(kScanChunk);
// Steps whose states are in registers at a time; their first states are kept in shared memory.
inline constexpr int kSub = 8;
inline constexpr int kSubs = kChunk / kSub;

// Blocks of 128 threads that a multiprocessor holds, by registers and shared memory.
inline constexpr int kBackwardResident = 2;
// Threads of a block where a GPU has no room for 128: those of compute capability 8.6, 8.9 and 12 have 99 KiB a block.
inline constexpr int kFewThreads = 64;

template <class T>
struct Backward {
    Inputs<T> in;
    View<const float, 4> chunk_states;
    View<const T, 3> d_y;
    View<T, 3> d_u, d_dt_raw, d_z;
    View<float, 3> d_h;  // may be absent
    float* ends;         // with more than one segment, as in Carry: gradients of states
    float* sum_dt;
    float* sums;        // (groups, B, L, N, 2): d_C and d_B of a block's channels
    float* parameters;  // (B, segments, N + 2, D): d_A_log, d_D, d_dt_bias of a segment
};

// Floats of a block's shared memory and where its parts begin. A thread has a column of its own in the parts
// with `columns`, kMaxThreads or kFewThreads.
struct BackwardShared {
    int stage;  // steps whose rows of B and C are there at a time
    int rows, dt, u, d_out, states, partial, ones, turn, end;

    // `matrix`: sums over channels by tensor cores.
    __host__ __device__ BackwardShared(int lanes_log2, int threads, bool matrix, int columns) {
        const int padded = kStates << lanes_log2, warps = threads / kWarp;
        stage = lanes_log2 <= 1 ? kChunk : 2 * kChunk >> lanes_log2;
        rows = 0;                                            // (stage, 2, padded)
        dt = rows + stage * 2 * padded;                      // (kChunk, columns)
        u = dt + kChunk * columns;                           // (kSub, columns)
        d_out = u + kSub * columns;                          // (kSub, columns)
        states = d_out + kSub * columns;                     // (kSubs - 1, kStates / 4, columns, 4)
        partial = states + (kSubs - 1) * kStates * columns;  // (2 if matrix, warps, kSub, padded, 2)
        ones = partial + (matrix ? 2 : 1) * warps * kSub * padded * 2;  // (4, kWarp, 2) if matrix
        turn = ones + (matrix ? 8 * kWarp : 0);  // (warps, 2 kStates, kWarp + 1) if not
        end = turn + (matrix ? 0 : warps * 2 * kStates * (kWarp + 1));
    }
    size_t bytes() const { return sizeof(float) * static_cast<size_t>(end); }
};

// The first pass: gradients of states at the beginning of each segment, from zero at its end; what it needs of
// shared memory.
size_t gradient_ends_bytes(const Lanes& lanes);
template <class T>
void walk_gradient_ends(cudaStream_t stream, const Backward<T>& p, const Lanes& lanes);
// d_B and d_C from the sums of the channel groups.
struct RowSums {
    const float* sums;  // as in Backward
    void *d_B, *d_C;
    int64_t B_stride[2], C_stride[2];
    int64_t L, rows;  // rows = B L
    int groups, N;
    DType storage;
};
void add_rows(cudaStream_t stream, const RowSums& p);
// d_A_log, d_D and d_dt_bias += the sums over rows and segments.
struct ParameterSums {
    const float* parameters;  // as in Backward
    View<float, 2> d_A_log;
    View<float, 1> d_D, d_dt_bias;
    int rows, N, n_channels;  // rows = B segments
};
void add_parameters(cudaStream_t stream, const ParameterSums& p);

}  // namespace adder::cuda::scan
