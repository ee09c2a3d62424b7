// How the row-wise ops cut their rows, (b, t) counted through, into tasks: by shape alone.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/threads.h"

namespace adder::cpu {

inline constexpr int64_t kRowsPerBlock = 64;

constexpr int64_t row_blocks(int64_t rows) { return ceil_div(rows, kRowsPerBlock); }

// Calls f(block, first row, row behind the last) for every block of `rows` rows.
template <class F>
void for_row_blocks(ThreadPool& pool, int64_t rows, F f) {
    pool.run(row_blocks(rows), [&](int64_t block) {
        const int64_t begin = block * kRowsPerBlock;
        f(block, begin, std::min(rows, begin + kRowsPerBlock));
    });
}

}  // namespace adder::cpu
