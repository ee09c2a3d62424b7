// Timing on a GPU.
#include <algorithm>

#include "kernels/common/op_bench.h"
#include "kernels/common/op_fill.h"
#include "kernels/common/op_instance.h"

namespace adder {

namespace {

// Peaks of dense products without sparsity, as the makers state them for the modules with the most power (NVIDIA's data
// sheets of A100, H100, H200, B200, L40S); f32 without TF32, for Hopper what a kernel can reach at its sustained clock.
struct Peak {
    const char* name;
    double f32, bf16;
};
constexpr Peak kPeaks[] = {{"H100", 60e12, 989e12}, {"H200", 60e12, 989e12},  {"GH200", 60e12, 989e12},
                           {"A100", 19.5e12, 312e12}, {"B200", 75e12, 2250e12}, {"L40S", 91e12, 362e12}};

// Ops over lists of tensors, which are all parameters, take their tables from host memory in every call: a
// graph would not keep them.
bool is_recordable(const OpCase& c) {
    return std::any_of(c.inputs.begin(), c.inputs.end(),
                       [](const ArraySpec& s) { return s.kind != Kind::parameter; });
}

// Of `runs` runs, after two that are not counted. `sweep` is done before each.
OpTime time_on(Gpu& gpu, int64_t runs, bool as_graph, const std::function<void()>& work,
               const std::function<void()>& sweep) {
    for (int i = 0; i < 2; ++i) work();
    gpu.synchronize();
    const Graph graph = as_graph ? Graph(gpu, work) : Graph();
    std::vector<double> ms;
    Event begin, end;
    for (int64_t i = 0; i < runs; ++i) {
        if (sweep) sweep();
        begin.record(gpu.stream());
        graph ? graph.launch(gpu.stream()) : work();
        end.record(gpu.stream());
        end.synchronize();
        ms.push_back(end.ms_since(begin));
    }
    gpu.synchronize();
    std::sort(ms.begin(), ms.end());
    return {ms.front(), ms[ms.size() / 2]};
}

using Pass = std::function<void(Ctx&, TensorBag&)>;

// What makes one step of a case of one; empty for the others. Ops that are a step by themselves have no other
// pass.
Pass step_of(const OpCase& c) {
    if (c.L > 1 || !is_recordable(c)) return {};
    return c.step ? c.step : c.forward;
}

}  // namespace

GpuLimits limits_of(Gpu& gpu, DType storage) {
    GpuLimits limits;
    const int64_t bytes = std::min(int64_t{1} << 31, gpu_free_bytes() / 4);
    const Tensor from(DType::u8, {bytes}, Device::cuda, "a copy"), to(DType::u8, {bytes}, Device::cuda, "a copy");
    const auto copy = [&] { copy_async(to.ref().data, from.ref().data, bytes, gpu.stream()); };
    const OpTime time = time_on(gpu, 7, false, copy, {});
    limits.copy_bytes_per_s = 2e3 * static_cast<double>(bytes) / time.best_ms;
    for (const Peak& p : kPeaks)
        if (gpu.info().name.find(p.name) != std::string::npos)
            limits.flops_per_s = storage == DType::bf16 ? p.bf16 : p.f32;
    return limits;
}

double floor_ms(const GpuLimits& limits, const OpCost& cost) {
    const double move = static_cast<double>(cost.bytes) / limits.copy_bytes_per_s;
    const double compute = limits.flops_per_s > 0 ? static_cast<double>(cost.flops) / limits.flops_per_s : 0;
    return 1e3 * std::max(move, compute);
}

std::optional<OpTiming> time_case_on(Gpu& gpu, const OpCase& c, DType storage, int64_t runs) {
    OpTiming timing;
    const char* what = "scratch";
    Arena counting(Device::cuda, what);
    ThreadPool pool(1);
    Ctx ctx;
    ctx.device = Device::cuda;
    ctx.pool = &pool;
    ctx.scratch = &counting;
    ctx.dry_run = true;
    TensorBag planned = planned_bag(c, storage, Device::cuda);
    const Pass step = step_of(c);
    if (step) {
        timing.cost_step = planned_cost(step, ctx, planned);
    } else {
        timing.cost_forward = planned_cost(c.forward, ctx, planned);
        if (c.backward) timing.cost_backward = planned_cost(c.backward, ctx, planned);
    }

    const int64_t sweep_bytes = 2 * gpu.info().l2_bytes;
    int64_t bytes = counting.peak_bytes() + sweep_bytes;
    for (const auto& [name, t] : planned.tensors) bytes += t.bytes();
    if (bytes > gpu_free_bytes()) return std::nullopt;
    DeviceArrays arrays(c, storage);
    arrays.fill(gpu);
    Arena scratch(Device::cuda, what);
    scratch.bind(counting.peak_bytes());
    const Tensor cache(DType::u8, {std::max<int64_t>(sweep_bytes, 1)}, Device::cuda, "a sweep of the caches");
    const auto sweep = [&] { zero_async(cache.ref().data, sweep_bytes, gpu.stream()); };
    ctx.gpu = &gpu;
    ctx.scratch = &scratch;
    ctx.dry_run = false;
    const auto time = [&](const Pass& pass) {
        return time_on(
            gpu, runs, is_recordable(c), [&] { pass(ctx, arrays.bag()); }, sweep);
    };
    if (step) {
        timing.step = time(step);
        return timing;
    }
    timing.forward = time(c.forward);
    if (c.backward) timing.backward = time(c.backward);
    return timing;
}

}  // namespace adder
