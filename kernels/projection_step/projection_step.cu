// The products of step_product.cuh with a norm before them and the convolution's step behind them. While
// blocks are few each norms the rows itself, 6 (in) or 4 (out) bytes an element from the second-level cache
// instead of 2, which costs less than a kernel more.
#include "kernels/gemm/step_wide.cuh"
#include "kernels/projection_step/projection_step_cuda.h"

namespace adder::cuda {

namespace {

bool aligned(const TensorRef& t) {
    const int last = t.rank() - 1;
    if (reinterpret_cast<uintptr_t>(t.data) % 16 != 0 || t.size(last) * size_of(t.dtype) % 16 != 0)
        return false;
    for (int d = 0; d < last; ++d)
        if (t.size(d) > 1 && t.stride[static_cast<size_t>(d)] * size_of(t.dtype) % 16 != 0) return false;
    return true;
}
bool aligned_or_absent(const TensorRef& t) {
    return !t || aligned(t);
}

step::Problem problem(const TensorRef& x, const TensorRef& weight) {
    return {weight.as<const bf16, 2>("weight").data,
            weight.stride[0],
            static_cast<int>(x.size(0)),
            static_cast<int>(x.size(2)),
            static_cast<int>(weight.size(0)),
            x.size(0) > step::kRows};
}

}  // namespace

bool in_proj_step_fits(const InProjArgs& a, const InProjOut& out) {
    const TensorRef& taps = a.conv_weight;
    return a.norm.x.dtype == DType::bf16 && taps.size(1) == step::ConvStep::kTaps && aligned(taps) &&
           aligned(a.norm.x) && aligned(a.weight) && aligned_or_absent(a.norm.residual) &&
           aligned_or_absent(a.norm.weight) && aligned_or_absent(out.residual_out);
}

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out, const WeighedRows& room) {
    const cudaStream_t stream = ctx.gpu->stream();
    const AddNormArgs& norm = args.norm;
    step::Problem p = problem(norm.x, args.weight);
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
    const auto x = norm.x.as<const bf16, 3>("x");
    if (norm.weight) {
        const auto residual = norm.residual.as<const float, 3>("residual");
        const auto residual_out = out.residual_out.as<float, 3>("residual_out");
        const step::AddNormRows rows{x.data,
                                     residual.data,
                                     norm.weight.ptr<const float>("norm weight"),
                                     residual_out.data,
                                     x.stride[0],
                                     residual.stride[0],
                                     residual_out.stride[0],
                                     norm.eps};
        return step::multiply_normed(stream, p, rows, conv, room.rows.ptr<bf16>("rows"),
                                     room.scale.ptr<float>("scale"));
    }
    step::multiply_rows(stream, p, {x.data, x.stride[0]}, conv);
}

bool out_proj_step_fits(const GatedNormArgs& norm, const TensorRef& weight) {
    return norm.x.dtype == DType::bf16 && norm.G == 1 && aligned(norm.x) && aligned(norm.z) &&
           aligned(norm.weight) && aligned(weight);
}

void out_proj_step(Ctx& ctx, const GatedNormArgs& norm, const TensorRef& weight, const TensorRef& y,
                   const WeighedRows& room) {
    const auto x = norm.x.as<const bf16, 3>("x"), z = norm.z.as<const bf16, 3>("z");
    const auto out = y.as<bf16, 3>("y");
    const step::GatedRows rows{x.data,      z.data,      norm.weight.ptr<const float>("norm weight"),
                               x.stride[0], z.stride[0], norm.eps};
    step::multiply_normed(ctx.gpu->stream(), problem(norm.x, weight), rows,
                          step::Store{nullptr, out.data, false, out.stride[0], step::in_fours(y)},
                          room.rows.ptr<bf16>("rows"), room.scale.ptr<float>("scale"));
}

}  // namespace adder::cuda
