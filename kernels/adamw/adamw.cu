// The update of all tensors in one launch, and the decision whether and how far to go. Floor: 28 bytes for each element,
// 30 with a bf16 copy.
#include "kernels/adamw/adamw_cuda.h"
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256, kVector = 4, kVectors = static_cast<int>(kPieceElements) / (kThreads * kVector);

struct Rates {
    float beta1, rest1, beta2, rest2;  // rest = 1 - beta
    float eps;
};

struct Numbers {
    float grad_scale, rate, pull, unbias2;
};

// One element; the same operations in the same order as the CPU's.
__device__ __forceinline__ void update(float& p, float g, float& m, float& v, const Numbers& n, const Rates& r) {
    g *= n.grad_scale;
    m = fmaf(r.beta1, m, r.rest1 * g);
    v = fmaf(r.beta2, v, r.rest2 * g * g);
    const float size = sqrtf(v * n.unbias2) + r.eps;
    // Both changes are added up before they meet the parameter, which is far larger: it is rounded once.
    p -= fmaf(n.pull, p, m * n.rate / size);
}

struct UpdateProblem {
    const AdamWPlace* tensors;
    const Piece* pieces;
    UpdateState given;
    const UpdateState* state;
    UpdateRecord* record;
    Rates rates;
};

// Mapping: block = one piece; thread i takes the vectors i, i + 256, ... of four elements, one at a time in unaligned
// tensors and at their ends. Elements are on their own. The smallest index of a tensor that became non-finite is the same
// in whatever order blocks find it.
__global__ void __launch_bounds__(kThreads) adamw_kernel(UpdateProblem p) {
    const UpdateState& s = p.state ? *p.state : p.given;
    if (s.skip) return;
    const Piece piece = p.pieces[blockIdx.x];
    const AdamWPlace t = p.tensors[piece.tensor];
    const Numbers numbers{s.grad_scale, s.rate * t.rate, t.decay ? s.pull * t.rate : 0.0f, s.unbias2};
    const int64_t first = piece.number * kPieceElements;
    const int n = static_cast<int>(min(t.n - first, kPieceElements));
    bool finite = true;
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
        const int i = (static_cast<int>(threadIdx.x) + j * kThreads) * kVector;
        if (t.aligned && i + kVector <= n) {
            float param[kVector], grad[kVector], m[kVector], v[kVector];
            load<kVector>(t.grad + first + i, grad);
            load<kVector>(t.m + first + i, m);
            load<kVector>(t.v + first + i, v);
            load<kVector>(t.param + first + i, param);
#pragma unroll
            for (int e = 0; e < kVector; ++e) {
                update(param[e], grad[e], m[e], v[e], numbers, p.rates);
                finite = finite && isfinite(param[e]);
            }
            store<kVector>(t.m + first + i, m);
            store<kVector>(t.v + first + i, v);
            store<kVector>(t.param + first + i, param);
            if (t.copy) store<kVector>(t.copy + first + i, param);
            continue;
        }
        for (int64_t e = first + i; e < first + min(i + kVector, n); ++e) {
            float param = t.param[e], m = t.m[e], v = t.v[e];
            update(param, t.grad[e], m, v, numbers, p.rates);
            finite = finite && isfinite(param);
            t.m[e] = m;
            t.v[e] = v;
            t.param[e] = param;
            if (t.copy) t.copy[e] = from_float<bf16>(param);
        }
    }
    // As unsigned, -1 for "none" is the largest.
    if (!finite && p.record)
        atomicMin(reinterpret_cast<unsigned long long*>(&p.record->first_bad_parameter),
                  static_cast<unsigned long long>(piece.tensor));
}

// One thread; see begin_update in adamw.h.
__global__ void begin_update_kernel(AdamWArgs args, double clip, UpdatePlaces at) {
    const double weight = at.sums[1];
    UpdateState s = *at.state;
    UpdateRecord r;
    r.loss = at.sums[0];
    r.weight = weight;
    s.skip = 1;
    if (weight != 0) {
        r.grad_norm = sqrt(at.norm->sum_of_squares) / weight;
        r.first_bad_gradient = at.norm->first_bad;
        if (r.first_bad_gradient < 0) {
            double scale = 1 / weight;
            if (clip > 0 && r.grad_norm > clip) scale *= clip / r.grad_norm;
            const auto n = static_cast<double>(++s.updates);
            s.grad_scale = static_cast<float>(scale);
            s.rate = static_cast<float>(s.lr / (1 - pow(args.beta1, n)));
            s.pull = static_cast<float>(s.lr * args.weight_decay);
            s.unbias2 = static_cast<float>(1 / (1 - pow(args.beta2, n)));
            s.skip = 0;
            r.updated = 1;
        }
    }
    r.updates = s.updates;
    *at.state = s;
    *at.record = r;
}

}  // namespace

void adamw(Ctx& ctx, const AdamWCall& call, const AdamWArgs& args) {
    const auto* bytes = static_cast<const char*>(call.table);
    UpdateProblem p{reinterpret_cast<const AdamWPlace*>(bytes),
                    reinterpret_cast<const Piece*>(bytes + call.layout.pieces_at()),
                    call.given,
                    call.state,
                    call.record,
                    {static_cast<float>(args.beta1), static_cast<float>(1 - args.beta1), static_cast<float>(args.beta2),
                     static_cast<float>(1 - args.beta2), static_cast<float>(args.eps)}};
    launch(ctx.gpu->stream(), dim3(blocks(call.layout.pieces)), kThreads, 0, adamw_kernel, p);
}

void begin_update(Ctx& ctx, const AdamWArgs& args, double clip, const UpdatePlaces& at) {
    launch(ctx.gpu->stream(), dim3(1), dim3(1), 0, begin_update_kernel, args, clip, at);
}

}  // namespace adder::cuda
