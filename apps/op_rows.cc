#include "apps/op_rows.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/common/op_bench.h"
#include "kernels/common/op_instance.h"
#include "kernels/common/op_table.h"

namespace adder {

namespace {

using Json = nlohmann::ordered_json;

// ref_ms is the reference's forward and backward pass as the library is built, to be compared with fwd_ms + bwd_ms;
// "novec" is the same without the compiler's vectoriser; ratios are reference / op.
void add_reference(Json& row, const OpTiming& t) {
    row["ref_fwd_ms"] = t.ref_forward.best_ms;
    row["ref_bwd_ms"] = t.ref_backward.best_ms;
    const double own = t.forward.best_ms + t.backward.best_ms;
    row["ratio_fwd"] = t.ref_forward.best_ms / t.forward.best_ms;
    row["ratio"] = row["ref_ms"].get<double>() / own;
    if (t.plain_forward.best_ms > 0) {
        row["ref_novec_fwd_ms"] = t.plain_forward.best_ms;
        row["ref_novec_bwd_ms"] = t.plain_backward.best_ms;
        row["ratio_novec_fwd"] = t.plain_forward.best_ms / t.forward.best_ms;
        row["ratio_novec"] = (t.plain_forward.best_ms + t.plain_backward.best_ms) / own;
    }
}

Json row_of(const OpCase& c, DType storage, const BenchMachine& machine, const OpTiming& t) {
    Json row = {{"case", c.title()}, {"device", machine.device}, {"isa", machine.isa}, {"threads", machine.threads}};
    row["dtype"] = name_of(has_storage(c) ? storage : DType::f32);
    row["fwd_ms"] = t.forward.best_ms;
    row["bwd_ms"] = t.backward.best_ms;
    row["ref_ms"] = nullptr;
    if (!machine.gpu) row["ref_ms"] = t.ref_forward.best_ms + t.ref_backward.best_ms;
    row["bytes"] = t.cost_forward.bytes + t.cost_backward.bytes + t.cost_step.bytes;
    row["flops"] = t.cost_forward.flops + t.cost_backward.flops + t.cost_step.flops;
    row["fwd_median_ms"] = t.forward.median_ms;
    row["bwd_median_ms"] = t.backward.median_ms;
    row["fwd_bytes"] = t.cost_forward.bytes;
    row["fwd_flops"] = t.cost_forward.flops;
    if (!machine.gpu) {
        add_reference(row, t);
    } else if (t.step.best_ms > 0) {
        row["step_ms"] = t.step.best_ms;
        row["step_median_ms"] = t.step.median_ms;
    }
    return row;
}

// A pass of `floor` milliseconds at least: percent of what the GPU could do.
double percent(double floor, double ms) { return ms > 0 ? 100 * floor / ms : 0; }

void add_floor(Json& row, const OpTiming& t, const GpuLimits& limits) {
    const double ms = t.forward.best_ms + t.backward.best_ms + t.step.best_ms;
    const double forward = floor_ms(limits, t.cost_forward), backward = floor_ms(limits, t.cost_backward);
    const double floor = forward + backward + floor_ms(limits, t.cost_step);
    row["gbps"] = 1e-6 * row["bytes"].get<double>() / ms;
    row["tflops"] = 1e-9 * row["flops"].get<double>() / ms;
    row["floor_ms"] = floor;
    row["pct_floor"] = percent(floor, ms);
    row["fwd_floor_ms"] = forward;
    row["fwd_pct_floor"] = percent(forward, t.forward.best_ms);
    row["bwd_floor_ms"] = backward;
    row["bwd_pct_floor"] = percent(backward, t.backward.best_ms);
}

std::string per_ms(int64_t amount, double ms, double unit) {
    return ms > 0 ? fmt::format("{:.2f}", unit * static_cast<double>(amount) / ms) : "-";
}

std::string cpu_line(const std::string& title, const OpTiming& t) {
    const double own = t.forward.best_ms + t.backward.best_ms;
    std::string ratio = "-";
    if (t.plain_forward.best_ms > 0)
        ratio = fmt::format("{:.2f}", (t.plain_forward.best_ms + t.plain_backward.best_ms) / own);
    return fmt::format("{:<46} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8.2f} {:>8}\n", title,
                       milliseconds(t.forward.best_ms), milliseconds(t.backward.best_ms),
                       per_ms(t.cost_forward.bytes, t.forward.best_ms, 1e-6),
                       per_ms(t.cost_backward.bytes, t.backward.best_ms, 1e-6),
                       per_ms(t.cost_forward.flops, t.forward.best_ms, 1e-6),
                       per_ms(t.cost_backward.flops, t.backward.best_ms, 1e-6),
                       (t.ref_forward.best_ms + t.ref_backward.best_ms) / own, ratio);
}

// A line for every pass that was timed.
std::string gpu_lines(const std::string& title, const OpTiming& t, const GpuLimits& limits) {
    std::string text;
    const auto add = [&](const char* pass, const OpTime& time, const OpCost& cost) {
        if (time.best_ms <= 0) return;
        text += fmt::format("{:<46} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7.1f}\n", title, pass,
                            milliseconds(time.best_ms), milliseconds(time.median_ms),
                            per_ms(cost.bytes, time.best_ms, 1e-6), per_ms(cost.flops, time.best_ms, 1e-9),
                            percent(floor_ms(limits, cost), time.best_ms));
    };
    add("forward", t.forward, t.cost_forward);
    add("backward", t.backward, t.cost_backward);
    add("step", t.step, t.cost_step);
    return text;
}

std::string cpu_head() {
    return fmt::format("{:<46} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "op", "fwd ms", "bwd ms", "fwd GB/s",
                       "bwd GB/s", "fwd GF/s", "bwd GF/s", "ref/op", "novec/op");
}

std::string gpu_head(const GpuLimits& limits, DType storage) {
    return fmt::format(
               "{}; a copy moves {:.0f} GB/s, peak {:.0f} TFLOP/s; % of the time that these allow at best\n",
               name_of(storage), 1e-9 * limits.copy_bytes_per_s, 1e-12 * limits.flops_per_s) +
           fmt::format("{:<46} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7}\n", "op", "pass", "ms", "median", "GB/s",
                       "TFLOP/s", "% floor");
}

}  // namespace

std::string milliseconds(double ms) { return ms > 0 ? fmt::format("{:.4g}", ms) : "-"; }

bool chosen(const cli::BenchOptions& o, const std::string& name, const std::string& title) {
    return (o.op == "all" || o.op == name) && title.find(o.filter) != std::string::npos;
}

std::string bench_ops(App& app, const cli::BenchOptions& o, const BenchMachine& machine, ThreadPool& pool) {
    const bool on_gpu = machine.gpu != nullptr;
    const DType storage = on_gpu && o.machine.dtype != "f32" ? DType::bf16 : DType::f32;
    GpuLimits limits;
    std::string text;
    for (const OpEntry& op : all_ops())
        for (const OpCase& c : op.cases()) {
            if (!(c.use & (on_gpu ? kBenchCuda : kBench)) || !chosen(o, op.name, c.title())) continue;
            app.console.line("timing " + c.title());
            if (on_gpu && text.empty()) limits = limits_of(*machine.gpu, storage);
            const std::optional<OpTiming> t = on_gpu ? time_case_on(*machine.gpu, c, storage, o.repeats)
                                                     : time_case(c, pool, o.repeats);
            if (!t) {
                app.console.line("left out, the memory of the GPU is too small: " + c.title());
                continue;
            }
            if (o.json) {
                Json row = row_of(c, storage, machine, *t);
                if (on_gpu) add_floor(row, *t, limits);
                text += row.dump() + '\n';
            } else {
                text += on_gpu ? gpu_lines(c.title(), *t, limits) : cpu_line(c.title(), *t);
            }
        }
    if (text.empty() || o.json) return text;
    return (on_gpu ? gpu_head(limits, storage) : cpu_head()) + text;
}

}  // namespace adder
