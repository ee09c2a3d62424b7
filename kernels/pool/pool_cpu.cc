// A task is a block of 64 columns of one row, whose sums stay in the first-level cache: one addition for each element
// that is read, so that memory decides the time and the compiler's own vectors are enough. Every column is added up in
// the order of time.
#include "kernels/pool/pool_cpu.h"

#include <algorithm>
#include <array>

#include "core/ceil_div.h"

namespace adder::cpu {

namespace {

constexpr int64_t kColumns = 64;

double open_length(const Pool& p, int64_t b) {
    return p.state ? static_cast<double>(p.state(b, p.y.shape[2])) : 0;
}

bool has_start(const Pool& p, int64_t b, int64_t t) { return p.start && p.start(b, t) != 0; }

bool exceeds(float y, float top) { return !(y <= top) && top == top; }

// Columns [m, m + n) of row b.
struct Block {
    int64_t b, m, n;
};

template <class Work>
void for_blocks(ThreadPool& pool, const Pool& p, Work work) {
    const int64_t M = p.y.shape[2], blocks = ceil_div(M, kColumns);
    pool.run(p.y.shape[0] * blocks, [&](int64_t task) {
        const int64_t m = task % blocks * kColumns;
        work(Block{task / blocks, m, std::min(kColumns, M - m)});
    });
}

void mean_block(const Pool& p, const Block& k, View<float, 3> z, View<float, 2> state_out) {
    std::array<double, kColumns> sum{};
    double length = std::max(open_length(p, k.b), 0.0);
    for (int64_t i = 0; length > 0 && i < k.n; ++i)
        sum[static_cast<size_t>(i)] = length * static_cast<double>(p.state(k.b, k.m + i));
    const int64_t L = p.y.shape[1];
    for (int64_t t = 0; t < L; ++t) {
        if (has_start(p, k.b, t)) {
            sum.fill(0);
            length = 0;
        }
        length += 1;
        const float* y = &p.y(k.b, t, k.m);
        for (int64_t i = 0; i < k.n; ++i) sum[static_cast<size_t>(i)] += static_cast<double>(y[i]);
        if (!z) continue;
        float* to = &z(k.b, t, k.m);
        const double part = 1 / length;
        for (int64_t i = 0; i < k.n; ++i) to[i] = static_cast<float>(sum[static_cast<size_t>(i)] * part);
    }
    for (int64_t i = 0; state_out && length > 0 && i < k.n; ++i)
        state_out(k.b, k.m + i) = static_cast<float>(sum[static_cast<size_t>(i)] / length);
}

void max_block(const Pool& p, const Block& k, View<float, 3> z, View<float, 2> state_out) {
    std::array<float, kColumns> top{};
    bool open = open_length(p, k.b) > 0;
    for (int64_t i = 0; open && i < k.n; ++i) top[static_cast<size_t>(i)] = p.state(k.b, k.m + i);
    const int64_t L = p.y.shape[1];
    for (int64_t t = 0; t < L; ++t) {
        const float* y = &p.y(k.b, t, k.m);
        const bool begins = !open || has_start(p, k.b, t);
        open = true;
        for (int64_t i = 0; i < k.n; ++i) {
            float& x = top[static_cast<size_t>(i)];
            x = begins || exceeds(y[i], x) ? y[i] : x;
        }
        if (z) std::copy_n(top.data(), k.n, &z(k.b, t, k.m));
    }
    for (int64_t i = 0; state_out && i < k.n; ++i) state_out(k.b, k.m + i) = top[static_cast<size_t>(i)];
}

void last_block(const Pool& p, const Block& k, View<float, 3> z, View<float, 2> state_out) {
    const int64_t L = p.y.shape[1];
    for (int64_t t = 0; z && t < L; ++t) std::copy_n(&p.y(k.b, t, k.m), k.n, &z(k.b, t, k.m));
    if (state_out && L > 0) std::copy_n(&p.y(k.b, L - 1, k.m), k.n, &state_out(k.b, k.m));
}

// n[t] of row b; the last one, or what was open where there are no steps, is returned.
double row_lengths(const Pool& p, int64_t b, double* lengths) {
    double length = std::max(open_length(p, b), 0.0);
    for (int64_t t = 0; t < p.y.shape[1]; ++t) {
        length = has_start(p, b, t) ? 1 : length + 1;
        if (lengths) lengths[t] = length;
    }
    return length;
}

struct Gradient {
    View<const float, 3> z, d_z;
    View<float, 3> d_y;
    View<float, 2> d_state;
    const double* lengths;
};

// `flow`: what the positions after t give to those up to t.
void backward_block(const Pool& p, const Block& k, const Gradient& g) {
    std::array<double, kColumns> flow{};
    const int64_t L = p.y.shape[1];
    const double open = std::max(open_length(p, k.b), 0.0);
    for (int64_t t = L; t-- > 0;) {
        const bool begins = has_start(p, k.b, t) || (t == 0 && !(open > 0));
        const double part = p.kind == PoolKind::mean ? 1 / g.lengths[k.b * L + t] : 1;
        const float *d_z = &g.d_z(k.b, t, k.m), *y = &p.y(k.b, t, k.m);
        const float* before = p.kind != PoolKind::max || begins ? nullptr : t > 0 ? &g.z(k.b, t - 1, k.m) : &p.state(k.b, k.m);
        float* d_y = &g.d_y(k.b, t, k.m);
        for (int64_t i = 0; i < k.n; ++i) {
            double& f = flow[static_cast<size_t>(i)];
            const double handed = g.d_state && t == L - 1 ? static_cast<double>(g.d_state(k.b, k.m + i)) : 0;
            const double d = static_cast<double>(d_z[i]) + handed;
            if (p.kind == PoolKind::last) {
                d_y[i] = static_cast<float>(d);
                continue;
            }
            f += part * d;
            const bool passes = before && !exceeds(y[i], before[i]);
            d_y[i] = passes ? 0 : static_cast<float>(f);
            if (begins || (before && !passes)) f = 0;
        }
    }
    for (int64_t i = 0; g.d_state && L > 0 && i < k.n; ++i) {
        const double f = flow[static_cast<size_t>(i)];
        g.d_state(k.b, k.m + i) = static_cast<float>(p.kind == PoolKind::mean ? open * f : f);
    }
}

}  // namespace

void pool_forward(ThreadPool& pool, const Pool& p, View<float, 3> z, View<float, 2> state_out) {
    const int64_t B = p.y.shape[0], L = p.y.shape[1], M = p.y.shape[2];
    for_blocks(pool, p, [&](const Block& k) {
        if (p.kind == PoolKind::mean) return mean_block(p, k, z, state_out);
        if (p.kind == PoolKind::max) return max_block(p, k, z, state_out);
        last_block(p, k, z, state_out);
    });
    // Afterwards, for state_out may be the state, whose lengths all blocks of a row read.
    for (int64_t b = 0; state_out && L > 0 && b < B; ++b) state_out(b, M) = static_cast<float>(row_lengths(p, b, nullptr));
}

void pool_backward(ThreadPool& pool, const Pool& p, View<const float, 3> z, View<const float, 3> d_z, View<float, 3> d_y,
                   View<float, 2> d_state, double* lengths) {
    const int64_t B = p.y.shape[0], L = p.y.shape[1], M = p.y.shape[2];
    if (p.kind == PoolKind::mean) pool.run(B, [&](int64_t b) { row_lengths(p, b, lengths + b * L); });
    for_blocks(pool, p, [&](const Block& k) { backward_block(p, k, {z, d_z, d_y, d_state, lengths}); });
    for (int64_t b = 0; d_state && b < B; ++b) d_state(b, M) = 0;
}

}  // namespace adder::cpu
