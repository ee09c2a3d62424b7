#include "apps/cmd_bench.h"

#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/model_bench.h"
#include "apps/run_options.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_bench.h"
#include "kernels/common/op_table.h"

namespace adder {

namespace {

constexpr CommandText kText = {"bench", kBenchSummary, "adder bench scan --threads 1\nadder bench all --json"};
constexpr const char* kModelRows[] = {"train_step", "embed_forward", "decode_cuda_graph"};

using Json = nlohmann::ordered_json;

bool chosen(const cli::BenchOptions& o, const std::string& name, const std::string& title) {
    return (o.op == "all" || o.op == name) && title.find(o.filter) != std::string::npos;
}

// Throws UsageError for a name that is neither an op nor a row of a whole model.
void check_name(const std::string& name) {
    std::vector<std::string> names = {"all"};
    for (const OpEntry& op : all_ops()) names.push_back(op.name);
    names.insert(names.end(), std::begin(kModelRows), std::end(kModelRows));
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw UsageError(fmt::format("bench: unknown op '{}'; the nearest is '{}'", name, nearest_name(name, names)));
}

// Keys of an op's row. ref_ms is the reference's forward and backward pass as the library is built, to be compared with
// fwd_ms + bwd_ms; "novec" is the same without the compiler's vectoriser; ratios are reference / op.
void add_op(Json& row, const OpTiming& t) {
    row["fwd_ms"] = t.forward.best_ms;
    row["bwd_ms"] = t.backward.best_ms;
    row["ref_ms"] = t.ref_forward.best_ms + t.ref_backward.best_ms;
    row["bytes"] = t.cost_forward.bytes + t.cost_backward.bytes;
    row["flops"] = t.cost_forward.flops + t.cost_backward.flops;
    row["fwd_median_ms"] = t.forward.median_ms;
    row["bwd_median_ms"] = t.backward.median_ms;
    row["fwd_bytes"] = t.cost_forward.bytes;
    row["fwd_flops"] = t.cost_forward.flops;
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

std::string per_second(int64_t amount, double ms) {
    return ms > 0 ? fmt::format("{:.2f}", 1e-6 * static_cast<double>(amount) / ms) : "-";
}

std::string milliseconds(double ms) { return ms > 0 ? fmt::format("{:.4g}", ms) : "-"; }

std::string op_line(const std::string& title, const OpTiming& t) {
    std::string ratio = "-";
    if (t.plain_forward.best_ms > 0)
        ratio = fmt::format("{:.2f}", (t.plain_forward.best_ms + t.plain_backward.best_ms) /
                                          (t.forward.best_ms + t.backward.best_ms));
    return fmt::format(
        "{:<46} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8.2f} {:>8}\n", title, milliseconds(t.forward.best_ms),
        milliseconds(t.backward.best_ms), per_second(t.cost_forward.bytes, t.forward.best_ms),
        per_second(t.cost_backward.bytes, t.backward.best_ms), per_second(t.cost_forward.flops, t.forward.best_ms),
        per_second(t.cost_backward.flops, t.backward.best_ms),
        (t.ref_forward.best_ms + t.ref_backward.best_ms) / (t.forward.best_ms + t.backward.best_ms), ratio);
}

// The keys by which rows of other programs are joined: case layer d n B L tok_s.
Json model_row(const ModelCase& c, const ModelTiming& t) {
    Json row = {{"case", c.what}, {"layer", std::string_view(c.mixer) == "mamba1" ? "Mamba1" : "Mamba2"},
                {"d", c.d_model}, {"n", c.n_layer}, {"B", c.B}};
    if (c.L > 0) row["L"] = c.L;
    if (c.tile > 0) row["tile"] = c.tile;
    row["params"] = t.parameters;
    if (c.L > 0)
        row["ms"] = t.best_ms;
    else
        row["us_per_step"] = 1e3 * t.best_ms;
    row["tok_s"] = t.tokens_per_s;
    row["median_ms"] = t.median_ms;
    row["runs"] = t.runs;
    if (t.memory_bytes > 0) row["peak_GB"] = 1e-9 * static_cast<double>(t.memory_bytes);
    return row;
}

struct Machine {
    std::string device, isa;
    int64_t threads;
    void add_to(Json& row) const {
        row["device"] = device;
        row["isa"] = isa;
        row["threads"] = threads;
    }
};

std::string bench_ops(App& app, const cli::BenchOptions& o, const Machine& machine, ThreadPool& pool) {
    std::string text;
    for (const OpEntry& op : all_ops())
        for (const OpCase& c : op.cases()) {
            if (!(c.use & kBench) || !chosen(o, op.name, c.title())) continue;
            app.console.line("timing " + c.title());
            const OpTiming t = time_case(c, pool, o.repeats);
            if (o.json) {
                Json row = {{"case", c.title()}};
                machine.add_to(row);
                add_op(row, t);
                text += row.dump() + '\n';
            } else {
                text += op_line(c.title(), t);
            }
        }
    if (text.empty() || o.json) return text;
    return fmt::format("{:<46} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "op", "fwd ms", "bwd ms", "fwd GB/s",
                       "bwd GB/s", "fwd GF/s", "bwd GF/s", "ref/op", "novec/op") +
           text;
}

std::string bench_models(App& app, const cli::BenchOptions& o, const Machine& machine, ThreadPool& pool) {
    std::string text;
    for (const ModelCase& c : model_cases()) {
        if (!chosen(o, c.what, c.title())) continue;
        app.console.line("timing " + c.title());
        const ModelTiming t = time_model(c, {.pool = &pool}, o.repeats);
        if (o.json) {
            Json row = model_row(c, t);
            machine.add_to(row);
            text += row.dump() + '\n';
        } else {
            text += fmt::format("{:<46} {:>9} {:>12.0f}\n", c.title(), milliseconds(t.best_ms), t.tokens_per_s);
        }
    }
    if (text.empty() || o.json) return text;
    return fmt::format("{:<46} {:>9} {:>12}\n", "model", "ms", "tokens/s") + text;
}

}  // namespace

void run_bench(App& app, const std::vector<std::string>& args) {
    cli::BenchOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) return void(app.results = config_text(list));
    require_all(list);
    check_name(o.op);
    o.machine.prepare();

    const Machine machine{o.machine.device, current_isa(), *o.machine.threads};
    ThreadPool pool(static_cast<int>(machine.threads));
    std::string text = bench_ops(app, o, machine, pool) + bench_models(app, o, machine, pool);
    if (text.empty()) fail("bench: no case of {} has '{}' in its name; hint: leave --filter out", o.op, o.filter);
    if (!o.json)
        text = fmt::format("device {}, isa {}, threads {}, OpenBLAS {}, best of {}\n", machine.device, machine.isa,
                           machine.threads, openblas_core(), o.repeats) +
               text;
    app.results = std::move(text);
}

}  // namespace adder
