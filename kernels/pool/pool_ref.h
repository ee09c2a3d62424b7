// The reference of pool.h.
#pragma once
#include "core/view.h"
#include "kernels/common/pool_kind.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Shapes as in PoolArgs; null views are absent arguments.
template <class S>
struct Pool {
    View<const S, 3> y;
    View<const uint8_t, 2> start;
    View<const S, 2> state;
    PoolKind kind;

    // Positions of the open member before t = 0.
    double open(int64_t b) const { return state ? static_cast<double>(real_part(state(b, y.shape[2]))) : 0; }
    // Whether position t begins a member.
    bool begins(int64_t b, int64_t t) const { return (start && start(b, t)) || (t == 0 && !(open(b) > 0)); }
    // n[t]
    double length(int64_t b, int64_t t) const {
        double n = 0;
        for (;; --t) {
            n += 1;
            if (begins(b, t)) return n;
            if (t == 0) return n + open(b);
        }
    }
};

// Whether y replaces the maximum so far.
template <class S>
bool exceeds(const S& y, const S& top) {
    return !(real_part(y) <= real_part(top)) && real_part(top) == real_part(top);
}

// Null z and state_out are not wanted.
template <class S>
void pool_forward(const Pool<S>& p, View<S, 3> z, View<S, 2> state_out) {
    const int64_t B = p.y.shape[0], L = p.y.shape[1], M = p.y.shape[2];
    for (int64_t b = 0; b < B; ++b) {
        const double last_length = L > 0 ? p.length(b, L - 1) : p.open(b);
        for (int64_t m = 0; m < M; ++m) {
            S pool = p.state ? p.state(b, m) : S(0), sum = S(p.open(b)) * pool;
            double n = p.open(b);
            for (int64_t t = 0; t < L; ++t) {
                const S y = p.y(b, t, m);
                const bool begins = p.begins(b, t);
                if (begins) sum = S(0), n = 0;
                n += 1;
                sum += y;
                if (p.kind == PoolKind::mean)
                    pool = sum / S(n);
                else if (p.kind == PoolKind::last || begins || exceeds(y, pool))
                    pool = y;
                if (z) z(b, t, m) = pool;
            }
            if (state_out) state_out(b, m) = pool;
        }
        if (state_out) state_out(b, M) = S(last_length);
    }
}

// A null d_state is zero and not wanted.
template <class S>
void pool_backward(const Pool<S>& p, View<const S, 3> z, View<const S, 3> d_z, View<S, 3> d_y, View<S, 2> d_state) {
    const int64_t B = p.y.shape[0], L = p.y.shape[1], M = p.y.shape[2];
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t m = 0; m < M; ++m) {
            S flow = S(0);  // what the positions after t give to those up to t
            double n = L > 0 ? p.length(b, L - 1) : 0;
            for (int64_t t = L; t-- > 0;) {
                const S d = d_state && t == L - 1 ? d_z(b, t, m) + d_state(b, m) : d_z(b, t, m);
                const bool begins = p.begins(b, t);
                switch (p.kind) {
                    case PoolKind::mean:
                        flow += d / S(n);
                        d_y(b, t, m) = flow;
                        if (begins) flow = S(0);
                        break;
                    case PoolKind::last: d_y(b, t, m) = d; break;
                    case PoolKind::max:
                        flow += d;
                        const bool takes = begins || exceeds(p.y(b, t, m), t > 0 ? z(b, t - 1, m) : p.state(b, m));
                        d_y(b, t, m) = takes ? flow : S(0);
                        if (takes) flow = S(0);
                        break;
                }
                n = begins && t > 0 ? p.length(b, t - 1) : n - 1;
            }
            if (d_state && L > 0) d_state(b, m) = p.kind == PoolKind::mean ? S(p.open(b)) * flow : flow;
        }
        if (d_state) d_state(b, M) = S(0);
    }
}

}  // namespace adder::ref
