// Products go to OpenBLAS in blocks cut by shape: 256 rows at absolute multiples of 256 times columns of the
// output.
#include "kernels/gemm/gemm_cpu.h"

#include <cblas.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/ceil_div.h"
#include "kernels/common/isa.h"
#include "kernels/common/partial_sums.h"
#include "kernels/common/time_blocks.h"

namespace adder::cpu {

namespace {

constexpr int64_t kBlockRows = 256;

// A range cut in `count` pieces of nearly equal width, multiples of 16: whole vectors in OpenBLAS's kernels.
struct Pieces {
    int64_t n, count, width;

    Pieces(int64_t n_, int64_t about) : n(n_) {
        const int64_t pieces = std::max<int64_t>(1, (n + about / 2) / about);
        width = ceil_div(ceil_div(n, pieces), 16) * 16;
        count = ceil_div(n, width);
    }
    int64_t begin(int64_t i) const { return i * width; }
    int64_t size(int64_t i) const { return std::min(width, n - i * width); }
};

// A matrix whose rows begin `stride` elements apart.
template <class T>
struct Rows {
    T* data;
    int64_t stride;
};

// OpenBLAS counts in int and wants rows that do not overlap. Other rows (offsets past 2^31, reversed time) go
// one by one.
template <class T>
bool blas_takes(const View<T, 3>& v) {
    return v.stride[1] >= v.shape[2] && v.stride[1] <= std::numeric_limits<int>::max();
}

// One BLAS thread: threads come from our pool, blocks are fixed by shape.
void sgemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int64_t m, int64_t n, int64_t k,
           Rows<const float> a, Rows<const float> b, float beta, Rows<float> c) {
    prepare_blas();
    cblas_sgemm(CblasRowMajor, trans_a, trans_b, static_cast<int>(m), static_cast<int>(n),
                static_cast<int>(k), 1.0f, a.data, static_cast<int>(a.stride), b.data,
                static_cast<int>(b.stride), beta, c.data, static_cast<int>(c.stride));
}

// out[:, c0 : c0 + n] = in B + beta out for `count` rows of one sequence from step t.
void multiply_rows(View<const float, 3> in, int64_t b, int64_t t, int64_t count, CBLAS_TRANSPOSE trans_b,
                   Rows<const float> matrix, float beta, View<float, 3> out, int64_t c0, int64_t n) {
    const int64_t k = in.shape[2];
    if (blas_takes(in) && blas_takes(out))
        return sgemm(CblasNoTrans, trans_b, count, n, k, {&in(b, t, 0), in.stride[1]}, matrix, beta,
                     {&out(b, t, c0), out.stride[1]});
    for (int64_t r = t; r < t + count; ++r)
        sgemm(CblasNoTrans, trans_b, 1, n, k, {&in(b, r, 0), k}, matrix, beta, {&out(b, r, c0), n});
}

// Calls f(b, first step, steps, column piece) for every block of an output (B,L,columns).
template <class F>
void for_blocks(ThreadPool& pool, int64_t B, int64_t L, int64_t t0, const Pieces& columns, F f) {
    const TimeBlocks blocks{t0, L, kBlockRows};
    const int64_t per_row = blocks.count() * columns.count;
    pool.run(B * per_row, [&](int64_t task) {
        const int64_t i = task % per_row / columns.count, t = blocks.begin(i);
        f(task / per_row, t, blocks.begin(i + 1) - t, task % columns.count);
    });
}

// How the weight gradient is cut: pieces of the output and, where those are few, runs of slices that add up
// apart.
struct WeightCut {
    TimeBlocks slices;
    int64_t n_slices;  // of all sequences
    Pieces rows, columns;
    int64_t runs;

    // Small pieces pack their operands too often; large ones leave threads idle.
    WeightCut(int64_t B, int64_t L, int64_t I, int64_t O, int64_t t0)
        : slices{t0, L, kTimeSlice},
          n_slices(B * slices.count()),
          rows(O, O * I > 128 * 1024 ? 256 : 128),
          columns(I, O * I > 128 * 1024 ? 256 : 128) {
        constexpr int64_t kTasks = 8;
        runs = std::clamp<int64_t>((kTasks + pieces() - 1) / pieces(), 1, std::max<int64_t>(n_slices, 1));
    }
    int64_t pieces() const { return rows.count * columns.count; }
    int64_t run_begin(int64_t run) const { return run * n_slices / runs; }
};

// c = sum over the steps of a slice of d_y[t, o0 : o0 + m] x[t, i0 : i0 + n], + c where beta is 1.
void multiply_slice(View<const float, 3> d_y, View<const float, 3> x, int64_t b, int64_t t, int64_t count,
                    int64_t o0, int64_t m, int64_t i0, int64_t n, float beta, Rows<float> c) {
    if (blas_takes(d_y) && blas_takes(x))
        return sgemm(CblasTrans, CblasNoTrans, m, n, count, {&d_y(b, t, o0), d_y.stride[1]},
                     {&x(b, t, i0), x.stride[1]}, beta, c);
    for (int64_t r = t; r < t + count; ++r)
        sgemm(CblasTrans, CblasNoTrans, m, n, 1, {&d_y(b, r, o0), m}, {&x(b, r, i0), n}, r == t ? beta : 1.0f,
              c);
}

// total[o] += the sum of each slice in turn.
void add_column_sums(ThreadPool& pool, View<const float, 3> d_y, const TimeBlocks& slices,
                     View<float, 1> total) {
    constexpr int64_t kColumns = 64;
    const int64_t O = d_y.shape[2];
    pool.run(ceil_div(O, kColumns), [&](int64_t task) {
        const int64_t o0 = task * kColumns, width = std::min(kColumns, O - o0);
        for (int64_t b = 0; b < d_y.shape[0]; ++b)
            for (int64_t s = 0; s < slices.count(); ++s) {
                float sum[kColumns] = {};
                for (int64_t t = slices.begin(s); t < slices.begin(s + 1); ++t) {
                    const float* row = &d_y(b, t, o0);
                    for (int64_t o = 0; o < width; ++o) sum[o] += row[o];
                }
                for (int64_t o = 0; o < width; ++o) total(o0 + o) += sum[o];
            }
    });
}

}  // namespace

void linear_forward(ThreadPool& pool, View<const float, 3> x, View<const float, 2> weight,
                    View<const float, 1> bias, int64_t t0, View<float, 3> y) {
    const Pieces columns(weight.shape[0], 256);
    for_blocks(pool, x.shape[0], x.shape[1], t0, columns,
               [&](int64_t b, int64_t t, int64_t count, int64_t piece) {
                   const int64_t o0 = columns.begin(piece), n = columns.size(piece);
                   if (bias)
                       for (int64_t r = t; r < t + count; ++r)
                           std::memcpy(&y(b, r, o0), &bias(o0), static_cast<size_t>(n) * sizeof(float));
                   multiply_rows(x, b, t, count, CblasTrans, {&weight(o0, 0), weight.stride[0]},
                                 bias ? 1.0f : 0.0f, y, o0, n);
               });
}

int64_t linear_backward_input_scratch_bytes(int64_t I, int64_t O) {
    return I % 16 == 0 ? 0 : I * O * static_cast<int64_t>(sizeof(float));
}

void linear_backward_input(ThreadPool& pool, View<const float, 2> weight, View<const float, 3> d_y,
                           int64_t t0, View<float, 3> d_x, bool add, float* transposed) {
    const Pieces columns(weight.shape[1], 256);
    if (transposed) {
        const int64_t I = weight.shape[1], O = weight.shape[0];
        for (int64_t o = 0; o < O; ++o)
            for (int64_t i = 0; i < I; ++i) transposed[i * O + o] = weight(o, i);
        return for_blocks(pool, d_y.shape[0], d_y.shape[1], t0, columns,
                          [&](int64_t b, int64_t t, int64_t count, int64_t piece) {
                              const int64_t i0 = columns.begin(piece);
                              multiply_rows(d_y, b, t, count, CblasTrans, {transposed + i0 * O, O},
                                            add ? 1.0f : 0.0f, d_x, i0, columns.size(piece));
                          });
    }
    for_blocks(pool, d_y.shape[0], d_y.shape[1], t0, columns,
               [&](int64_t b, int64_t t, int64_t count, int64_t piece) {
                   const int64_t i0 = columns.begin(piece);
                   multiply_rows(d_y, b, t, count, CblasNoTrans, {&weight(0, i0), weight.stride[0]},
                                 add ? 1.0f : 0.0f, d_x, i0, columns.size(piece));
               });
}

int64_t linear_backward_weight_scratch_bytes(int64_t B, int64_t L, int64_t I, int64_t O, int64_t t0) {
    const WeightCut cut(B, L, I, O, t0);
    return cut.runs == 1 ? 0 : cut.runs * O * I * static_cast<int64_t>(sizeof(float));
}

// Each task owns a piece of the output and a run of slices, which it walks in order. A single run adds to
// d_weight itself; several leave partial sums, which are then added in order.
void linear_backward_weight(ThreadPool& pool, View<const float, 3> x, View<const float, 3> d_y, int64_t t0,
                            float* d_weight, View<float, 1> d_bias, float* scratch) {
    const int64_t B = x.shape[0], L = x.shape[1], I = x.shape[2], O = d_y.shape[2];
    const WeightCut cut(B, L, I, O, t0);
    if (cut.n_slices == 0) return;
    const int64_t per_row = cut.slices.count();
    const bool direct = cut.runs == 1;
    pool.run(cut.pieces() * cut.runs, [&](int64_t task) {
        const int64_t run = task / cut.pieces(), piece = task % cut.pieces();
        const int64_t row = piece / cut.columns.count, column = piece % cut.columns.count;
        const int64_t o0 = cut.rows.begin(row), i0 = cut.columns.begin(column);
        float* c = direct ? d_weight + o0 * I + i0 : scratch + (run * O + o0) * I + i0;
        for (int64_t s = cut.run_begin(run); s < cut.run_begin(run + 1); ++s) {
            const int64_t t = cut.slices.begin(s % per_row), count = cut.slices.begin(s % per_row + 1) - t;
            multiply_slice(d_y, x, s / per_row, t, count, o0, cut.rows.size(row), i0,
                           cut.columns.size(column), direct || s > cut.run_begin(run) ? 1.0f : 0.0f, {c, I});
        }
    });
    if (!direct) add_partial_sums(pool, scratch, cut.runs, O * I, d_weight);
    if (d_bias) add_column_sums(pool, d_y, cut.slices, d_bias);
}

}  // namespace adder::cpu
