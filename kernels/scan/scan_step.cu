// One step of the scan for each of B rows.
//
// Mapping: 8 lanes share a channel and own every eighth of its states; a block has 16 channels of one row.
// Bytes: the state in and out, 8 B D N, and A_log. A row's bits depend on nothing outside the row. Order of
// the sum over states: those of a lane, then the lanes by a butterfly.
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

constexpr int kThreads = 128;
constexpr int kLanes = 8;

template <class T>
struct OneStep {
    Inputs<T> in;
    View<float, 3> h;
    View<T, 3> y;
};

template <class T>
__global__ __launch_bounds__(kThreads) void step_states(const OneStep<T> p) {
    release_next();
    wait_for_previous();
    const Inputs<T>& in = p.in;
    const int64_t b = blockIdx.x;
    const int d = (static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x)) / kLanes;
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
    const bool active = d < in.n_channels, start = in.start && in.start(b, 0) != 0;
    float sum = 0.0f, u = 0.0f;
    if (active) {
        const float dt = step_size(to_float(in.dt_raw(b, 0, d)) + in.dt_bias(d));
        u = to_float(in.u(b, 0, d));
        for (int n = lane; n < in.N; n += kLanes) {
            const float A2 = -expf(in.A_log(d, n)) * kLog2e, x2 = dt * A2, a = decay_of<T>(x2);
            const float weight = in.zoh ? zoh_weight(dt, x2, a, A2) : dt;
            const float before = start ? 0.0f : p.h(b, d, n);
            const float h = fmaf(a, before, weight * u * to_float(in.B(b, 0, n)));
            p.h(b, d, n) = h;
            sum = fmaf(h, to_float(in.C(b, 0, n)), sum);
        }
    }
    sum = warp_sum<kLanes>(sum);
    if (!active || lane != 0) return;
    float out = fmaf(in.D(d), u, sum);
    if (in.z) {
        const float z = to_float(in.z(b, 0, d));
        out *= z * logistic(z);
    }
    p.y(b, 0, d) = from_float<T>(out);
}

template <class T>
void step(Ctx& ctx, const ScanArgs& args, const TensorRef& h, const TensorRef& y) {
    OneStep<T> p;
    p.in = inputs_of<T>(args, Lanes(args.u.size(2), args.A_log.size(1), 1), {1, 1});
    p.h = h.as<float, 3>("[scan_step] h");
    p.y = y.as<T, 3>("[scan_step] y");
    const dim3 grid(blocks(args.u.size(0)),
                    static_cast<unsigned>(ceil_div(args.u.size(2) * kLanes, kThreads)));
    launch_early(ctx.gpu->stream(), grid, kThreads, 0, step_states<T>, p);
}

}  // namespace

void scan_step(Ctx& ctx, const ScanArgs& args, const TensorRef& h, const TensorRef& y) {
    args.u.dtype == DType::f32 ? step<float>(ctx, args, h, y) : step<bf16>(ctx, args, h, y);
}

}  // namespace adder::cuda
