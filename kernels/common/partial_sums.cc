#include "kernels/common/partial_sums.h"

#include <algorithm>

#include "core/ceil_div.h"

namespace adder::cpu {

void add_partial_sums(ThreadPool& pool, const float* partial, int64_t n_partials, int64_t n, float* total) {
    constexpr int64_t kColumns = 256;
    pool.run(ceil_div(n, kColumns), [=](int64_t task) {
        const int64_t begin = task * kColumns, width = std::min(n - begin, kColumns);
        float sum[kColumns] = {};
        for (int64_t p = 0; p < n_partials; ++p)
            for (int64_t i = 0; i < width; ++i) sum[i] += partial[p * n + begin + i];
        for (int64_t i = 0; i < width; ++i) total[begin + i] += sum[i];
    });
}

}  // namespace adder::cpu
