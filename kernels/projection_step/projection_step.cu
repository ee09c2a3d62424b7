// The products of step_product.cuh with what stands before and behind them. While blocks are few each gates
// and norms the rows of out_proj_step itself, 4 bytes an element from the second-level cache instead of 2,
// which costs less than a kernel more.
#include "kernels/gemm/step_wide.cuh"
#include "kernels/projection_step/projection_step_cuda.h"

namespace adder::cuda {

namespace {

step::Problem problem(const TensorRef& x, const TensorRef& weight) {
    return {weight.as<const bf16, 2>("weight").data,
            weight.stride[0],
            static_cast<int>(x.size(0)),
            static_cast<int>(x.size(2)),
            static_cast<int>(weight.size(0)),
            x.size(0) > step::kRows};
}

step::JoinStream join(const StepStream& s) {
    const auto residual = s.residual.as<float, 3>("residual"), squares = s.squares.as<float, 3>("squares");
    const auto rows = s.rows.as<bf16, 3>("rows");
    return {residual.data,      s.weight.ptr<const float>("norm weight"),
            rows.data,          squares.data,
            residual.stride[0], rows.stride[0],
            squares.stride[0]};
}

struct Addition {
    const bf16* x;
    const float* residual;  // may be absent
    int64_t x_stride, residual_stride;
    int M;
};

constexpr int kAddThreads = 64;

// Mapping: thread = four neighbouring columns of row blockIdx.x. Bytes: 8 an element, 12 with a residual.
// kWide: x and residual in vectors.
template <bool kWide>
__global__ void __launch_bounds__(kAddThreads) add_kernel(Addition a, step::JoinStream to) {
    const int b = blockIdx.x, o = (blockIdx.y * kAddThreads + threadIdx.x) * 4;
    release_next();
    wait_for_previous();
    if (o >= a.M) return;
    const bf16* const x = a.x + b * a.x_stride + o;
    const float* const residual = a.residual ? a.residual + b * a.residual_stride + o : nullptr;
    float added[4], before[4] = {};
    if constexpr (kWide) {
        load<4>(x, added);
        if (residual) load<4>(residual, before);
    } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            added[c] = to_float(x[c]);
            if (residual) before[c] = residual[c];
        }
    }
    step::JoinStream::FourParameters weight;
    to.fetch(o, weight);
    to.four(b, o, 4, added, weight, {make_float4(before[0], before[1], before[2], before[3])});
}

}  // namespace

void add_to_stream(Ctx& ctx, const TensorRef& x, const TensorRef& residual, const StepStream& stream) {
    const auto from = x.as<const bf16, 3>("x");
    const auto before = residual.as<const float, 3>("residual");
    const int M = static_cast<int>(x.size(2));
    const bool vectors = aligned(x) && (!residual || aligned(residual));
    const dim3 grid(blocks(x.size(0)), static_cast<unsigned>(ceil_div(M, 4 * kAddThreads)));
    launch_step(ctx.gpu->stream(), grid, kAddThreads, 0, vectors ? add_kernel<true> : add_kernel<false>,
                Addition{from.data, before.data, from.stride[0], before.stride[0], M}, join(stream));
}

static_assert(kStepTaps == step::ConvStep::kTaps);

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out) {
    step::Problem p = problem(args.stream.rows, args.weight);
    p.settled = args.settled && p.late;
    const auto y = out.y.as<bf16, 3>("y");
    const auto halo = args.halo.as<const float, 3>("halo");
    const auto halo_out = out.halo_out.as<float, 3>("halo_out");
    const step::ConvStep conv{args.conv_weight.ptr<const float>("conv_weight"),
                              args.conv_bias.as<const float, 1>("conv_bias").data,
                              halo.data,
                              halo_out.data,
                              halo.stride[0],
                              halo.stride[1],
                              halo_out.stride[0],
                              halo_out.stride[1],
                              y.data,
                              y.stride[0],
                              static_cast<int>(args.first),
                              static_cast<int>(args.conv_weight.size(0)),
                              step::in_fours(out.y) && step::in_fours(args.halo) &&
                                  step::in_fours(out.halo_out) && args.first % 4 == 0 &&
                                  args.conv_weight.size(0) % 4 == 0};
    const auto rows = args.stream.rows.as<const bf16, 3>("rows");
    const auto squares = args.stream.squares.as<const float, 3>("squares");
    step::multiply_rows(
        ctx.gpu->stream(), p,
        step::StreamRows{rows.data, rows.stride[0], squares.data, squares.stride[0], args.stream.eps}, conv);
}

void out_proj_step(Ctx& ctx, const OutProjArgs& args, const StepEnd& to, const WeighedRows& room) {
    const GatedNormArgs& norm = args.norm;
    const cudaStream_t stream = ctx.gpu->stream();
    step::Problem p = problem(norm.x, args.weight);
    p.settled = args.settled && p.late;
    const auto x = norm.x.as<const bf16, 3>("x"), z = norm.z.as<const bf16, 3>("z");
    if (!norm.weight) {
        if (aligned(norm.x) && aligned(args.weight))
            return step::multiply_rows(stream, p, step::PlainRows<true>{x.data, x.stride[0]},
                                       join(to.stream));
        return step::start_product(stream, p, step::PlainRows<false>{x.data, x.stride[0]}, join(to.stream));
    }
    const step::GatedRows rows{x.data,      z.data,      norm.weight.ptr<const float>("norm weight"),
                               x.stride[0], z.stride[0], norm.eps};
    const auto multiply = [&](const auto& finish) {
        step::multiply_normed(stream, p, rows, finish, room.rows.ptr<bf16>("rows"),
                              room.scale.ptr<float>("scale"));
    };
    if (!to.y) return multiply(join(to.stream));
    const auto y = to.y.as<bf16, 3>("y");
    multiply(step::Store{nullptr, y.data, false, y.stride[0], step::in_fours(to.y)});
}

}  // namespace adder::cuda
