// The scan backward on the host: how work is cut, which kernels run. The kernels for euler; those for zoh are
// in scan_backward_zoh.cu and scan_backward_few.cu.
#include "kernels/scan/scan_backward_walk.cuh"

namespace adder::cuda {

namespace scan {

extern template void launch_walk_backward<float, true, false>(cudaStream_t, const Backward<float>&,
                                                              const Lanes&);
extern template void launch_walk_backward<bf16, true, false>(cudaStream_t, const Backward<bf16>&,
                                                             const Lanes&);
extern template void launch_walk_backward<float, true, false, kFewThreads>(cudaStream_t, const Backward<float>&,
                                                                           const Lanes&);
extern template void launch_walk_backward<bf16, true, false, kFewThreads>(cudaStream_t, const Backward<bf16>&,
                                                                          const Lanes&);

}  // namespace scan

namespace {

using namespace scan;

constexpr SplitCost kSplitCost{kBackwardResident * kMultiprocessors, kScanChunk, 0.7, 1.3};

struct Plan {
    bool zoh, matrix;  // the kernel: asks for the discretization; sums by tensor cores
    bool few;          // blocks of kFewThreads, where the GPU has no room for more
    Lanes lanes;
    TimeSplit split;

    explicit Plan(const ScanArgs& a) : lanes(a.u.size(2), a.A_log.size(1), 1) {
        const int64_t D = a.u.size(2), N = a.A_log.size(1);
        zoh = a.discretization == Discretization::zoh;
        matrix = a.u.dtype == DType::bf16 && !zoh && N <= kStates;
        few = BackwardShared(lanes.log2, lanes.threads, matrix, kMaxThreads).bytes() > most_shared_bytes();
        if (few) lanes = Lanes(D, N, 1, kFewThreads), matrix = false;
        const int64_t n = std::max<int64_t>(a.u.size(0) * lanes.groups * lanes.threads / kMaxThreads, 1);
        split = {a.u.size(1), 1};
        // Where N > 128 and there is no room for the rows of the first pass, one segment does without it.
        if (gradient_ends_bytes(lanes) <= most_shared_bytes()) split = split_time(a.u.size(1), n, kSplitCost);
    }
};

// Floats.
struct Scratch {
    int64_t ends, sum_dt, sums, parameters;

    Scratch(const ScanArgs& a, const Plan& plan) : ends(0), sum_dt(0) {
        const TimeSplit& split = plan.split;
        const int64_t B = a.u.size(0), L = a.u.size(1), D = a.u.size(2), N = a.A_log.size(1);
        if (split.count > 1) sum_dt = B * split.count * D, ends = sum_dt * N;
        sums = plan.lanes.groups * B * L * 2 * N;
        parameters = B * split.count * (N + 2) * D;
    }
};

template <class T>
void walk(cudaStream_t stream, const Backward<T>& p, const Plan& plan) {
    if (plan.few) return launch_walk_backward<T, true, false, kFewThreads>(stream, p, plan.lanes);
    if constexpr (std::is_same_v<T, float>)
        return plan.zoh ? launch_walk_backward<T, true, false>(stream, p, plan.lanes)
                        : launch_walk_backward<T, false, false>(stream, p, plan.lanes);
    else
        return plan.matrix ? launch_walk_backward<T, false, true>(stream, p, plan.lanes)
                           : launch_walk_backward<T, true, false>(stream, p, plan.lanes);
}

template <class T>
void backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads,
              float* scratch) {
    const Plan plan(args);
    const Lanes& lanes = plan.lanes;
    const TimeSplit& split = plan.split;
    const Scratch size(args, plan);
    Backward<T> p;
    p.in = inputs_of<T>(args, lanes, split);
    p.chunk_states = chunk_states.as<const float, 4>("[scan_backward] chunk_states");
    p.d_y = grads.d_y.as<const T, 3>("[scan_backward] d_y");
    p.d_u = grads.d_u.as<T, 3>("[scan_backward] d_u");
    p.d_dt_raw = grads.d_dt_raw.as<T, 3>("[scan_backward] d_dt_raw");
    p.d_z = grads.d_z.as<T, 3>("[scan_backward] d_z");
    p.d_h = grads.d_h.as<float, 3>("[scan_backward] d_h");
    p.sums = scratch;
    p.parameters = p.sums + size.sums;
    p.ends = split.count > 1 ? p.parameters + size.parameters : nullptr;
    p.sum_dt = p.parameters + size.parameters + size.ends;
    CUstream_st* const stream = ctx.gpu->stream();
    const Inputs<T>& in = p.in;
    if (split.count > 1) {
        walk_gradient_ends(stream, p, lanes);
        View<const float, 3> first;
        if (p.d_h) first = grads.d_h.as<const float, 3>("[scan_backward] d_h");
        carry(stream,
              {p.ends, p.sum_dt, in.A_log, first, {}, in.segments, in.n_channels, in.N, in.n_batch, true});
    }
    walk(stream, p, plan);
    RowSums rows{p.sums, grads.d_B.data,    grads.d_C.data, {},   {},
                 in.L,   in.n_batch * in.L, lanes.groups,   in.N, args.u.dtype};
    for (int r = 0; r < 2; ++r)
        rows.B_stride[r] = grads.d_B.stride[static_cast<size_t>(r)],
        rows.C_stride[r] = grads.d_C.stride[static_cast<size_t>(r)];
    add_rows(stream, rows);
    add_parameters(stream, {p.parameters, grads.d_A_log.as<float, 2>("[scan_backward] d_A_log"),
                            grads.d_D.as<float, 1>("[scan_backward] d_D"),
                            grads.d_dt_bias.as<float, 1>("[scan_backward] d_dt_bias"),
                            in.n_batch * in.segments, in.N, in.n_channels});
}

}  // namespace

int64_t scan_backward_scratch_bytes(const ScanArgs& args) {
    const Scratch size(args, Plan(args));
    return (size.ends + size.sum_dt + size.sums + size.parameters) * size_of(DType::f32);
}

void scan_backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads,
                   void* scratch) {
    auto* const room = static_cast<float*>(scratch);
    if (args.u.dtype == DType::f32)
        backward<float>(ctx, args, chunk_states, grads, room);
    else
        backward<bf16>(ctx, args, chunk_states, grads, room);
}

}  // namespace adder::cuda
