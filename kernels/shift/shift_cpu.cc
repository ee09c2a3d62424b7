// Both directions move rows of M floats and are bound by memory. The row that holds the state is moved by the task that has
// step 0, so that the state may be updated in place.
#include "kernels/shift/shift_cpu.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/common/row_blocks.h"

namespace adder::cpu {

namespace {

void put(const float* from, float* to, int64_t M) {
    const auto bytes = static_cast<size_t>(M) * sizeof(float);
    from ? std::memcpy(to, from, bytes) : std::memset(to, 0, bytes);
}

}  // namespace

void shift_forward(ThreadPool& pool, View<const float, 3> x, View<const uint8_t, 2> start, View<const float, 3> before,
                   View<float, 3> y, View<float, 3> after) {
    const int64_t* shape = y ? y.shape : x.shape;
    const int64_t B = shape[0], L = shape[1], M = shape[2];
    for_row_blocks(pool, B * L, [&](int64_t, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t b = i / L, t = i % L;
            const float* from = t > 0 ? (x ? &x(b, t - 1, 0) : nullptr) : before ? &before(b, 0, 0) : nullptr;
            if (y) put(start && start(b, t) ? nullptr : from, &y(b, t, 0), M);
            if (t == 0 && after) put(&x(b, L - 1, 0), &after(b, 0, 0), M);
        }
    });
}

void shift_backward(ThreadPool& pool, View<const uint8_t, 2> start, View<const float, 3> d_y, View<float, 3> d_x,
                    View<float, 3> d_state) {
    const int64_t B = d_y.shape[0], L = d_y.shape[1], M = d_y.shape[2];
    for_row_blocks(pool, B * L, [&](int64_t, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t b = i / L, t = i % L;
            const float* from = start && start(b, t) ? nullptr : &d_y(b, t, 0);
            if (t > 0) {
                put(from, &d_x(b, t - 1, 0), M);
                continue;
            }
            put(d_state ? &d_state(b, 0, 0) : nullptr, &d_x(b, L - 1, 0), M);
            if (d_state) put(from, &d_state(b, 0, 0), M);
        }
    });
}

void group_starts(View<const uint8_t, 2> start, int64_t every, View<uint8_t, 2> groups) {
    const int64_t L = start.shape[1];
    for (int64_t b = 0; b < groups.shape[0]; ++b)
        for (int64_t g = 0; g < groups.shape[1]; ++g) {
            const int64_t first = g * every, end = std::min(L, first + every);
            groups(b, g) = start(b, first);
            for (int64_t t = first + 1; t < end; ++t)
                if (start(b, t))
                    fail("[group_starts] start: row {} has one at step {}, inside a group of {}", b, t, every);
        }
}

}  // namespace adder::cpu
