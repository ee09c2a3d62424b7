// Both directions move rows of M floats and are bound by memory: plain loops, no intrinsics.
#include "kernels/embedding/embedding_cpu.h"

#include <algorithm>
#include <cstring>

#include "core/ceil_div.h"
#include "kernels/common/partial_sums.h"
#include "kernels/common/time_blocks.h"

namespace adder::cpu {

namespace {

constexpr int64_t kBlockRows = 128, kColumns = 128;

// Slices that L steps touch, wherever they begin.
int64_t most_slices(int64_t L) {
    return L < 2 ? L : (L - 2) / kTimeSlice + 2;
}

// A table of sums for every slice pays where the tables are small beside d_y. The choice must not depend on
// t0: memory is planned for one position and used at all.
bool sums_by_slice(int64_t B, int64_t L, int64_t V) {
    return 2 * B * most_slices(L) * V <= B * L;
}

// table[id] += row of d_y for steps [begin, end) of row b, in order, over `width` columns from m0.
void scatter(const View<const uint16_t, 2>& ids, const View<const float, 3>& d_y, int64_t b, int64_t begin,
             int64_t end, int64_t m0, int64_t width, float* table) {
    const int64_t M = d_y.shape[2];
    for (int64_t t = begin; t < end; ++t) {
        const float* __restrict from = &d_y(b, t, m0);
        float* __restrict to = table + ids(b, t) * M + m0;
        for (int64_t m = 0; m < width; ++m) to[m] += from[m];
    }
}

}  // namespace

void embedding_forward(ThreadPool& pool, View<const uint16_t, 2> ids, View<const float, 2> weight,
                       View<float, 3> y) {
    const int64_t L = y.shape[1], rows = y.shape[0] * L;
    const auto bytes = static_cast<size_t>(y.shape[2]) * sizeof(float);
    pool.run(ceil_div(rows, kBlockRows), [&](int64_t task) {
        for (int64_t i = task * kBlockRows; i < std::min(rows, (task + 1) * kBlockRows); ++i)
            std::memcpy(&y(i / L, i % L, 0), &weight(ids(i / L, i % L), 0), bytes);
    });
}

int64_t embedding_backward_scratch_bytes(int64_t B, int64_t L, int64_t V, int64_t M) {
    return sums_by_slice(B, L, V) ? B * most_slices(L) * V * M * static_cast<int64_t>(sizeof(float)) : 0;
}

void embedding_backward(ThreadPool& pool, View<const uint16_t, 2> ids, View<const float, 3> d_y, int64_t t0,
                        float* d_weight, int64_t V, float* scratch) {
    const int64_t B = d_y.shape[0], L = d_y.shape[1], M = d_y.shape[2];
    if (!sums_by_slice(B, L, V)) {
        // Each task owns some columns of the whole table and walks all steps.
        pool.run(ceil_div(M, kColumns), [&](int64_t task) {
            const int64_t m0 = task * kColumns;
            for (int64_t b = 0; b < B; ++b)
                scatter(ids, d_y, b, 0, L, m0, std::min(kColumns, M - m0), d_weight);
        });
        return;
    }
    const TimeBlocks slices{t0, L, kTimeSlice};
    const int64_t per_row = slices.count();
    // Whole rows stream best; few slices are cut by columns too, which changes no sum.
    const int64_t columns = B * per_row >= 8 ? M : kColumns, widths = ceil_div(M, columns);
    pool.run(B * per_row * widths, [&](int64_t task) {
        const int64_t m0 = task % widths * columns, slice = task / widths, i = slice % per_row;
        const int64_t width = std::min(columns, M - m0);
        float* table = scratch + slice * V * M;
        for (int64_t v = 0; v < V; ++v)
            std::memset(table + v * M + m0, 0, static_cast<size_t>(width) * sizeof(float));
        scatter(ids, d_y, slice / per_row, slices.begin(i), slices.begin(i + 1), m0, width, table);
    });
    add_partial_sums(pool, scratch, B * per_row, V * M, d_weight);
}

}  // namespace adder::cpu
