#include "apps/cmd_bench.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/model_bench.h"
#include "apps/op_rows.h"
#include "apps/run_options.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_table.h"

namespace adder {

namespace {

constexpr CommandText kText = {"bench", kBenchSummary, "adder bench scan --threads 1\nadder bench all --json"};
constexpr const char* kModelRows[] = {"train_step", "embed_forward", "decode_cuda_graph"};

using Json = nlohmann::ordered_json;

// Throws UsageError for a name that is neither an op nor a row of a whole model.
void check_name(const std::string& name) {
    std::vector<std::string> names = {"all"};
    for (const OpEntry& op : all_ops()) names.push_back(op.name);
    names.insert(names.end(), std::begin(kModelRows), std::end(kModelRows));
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw UsageError(fmt::format("bench: unknown op '{}'; the nearest is '{}'", name, nearest_name(name, names)));
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

std::string bench_models(App& app, const cli::BenchOptions& o, const BenchMachine& machine, ThreadPool& pool) {
    std::string text;
    for (const ModelCase& c : model_cases()) {
        if (!chosen(o, c.what, c.title())) continue;
        app.console.line("timing " + c.title());
        const ModelTiming t = time_model(c, {.pool = &pool}, o.repeats);
        if (o.json) {
            Json row = model_row(c, t);
            row["device"] = machine.device;
            row["isa"] = machine.isa;
            row["threads"] = machine.threads;
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
    const Device device = o.machine.prepare(true);
    if (!o.dtype.empty() && o.dtype != "f32" && (o.dtype != "bf16" || device == Device::cpu))
        throw UsageError(fmt::format("--dtype: expected {}, got '{}'", device == Device::cpu ? "f32" : "f32 or bf16", o.dtype));

    BenchMachine machine{o.machine.device, current_isa(), *o.machine.threads, nullptr};
    std::string head = fmt::format("device {}, isa {}, threads {}, OpenBLAS {}, best of {}\n", machine.device, machine.isa,
                                   machine.threads, openblas_core(), o.repeats);
    std::unique_ptr<Gpu> gpu;
    if (device == Device::cuda) {
        gpu = std::make_unique<Gpu>();
        const GpuInfo& info = gpu->info();
        machine.gpu = gpu.get();
        machine.isa = fmt::format("sm_{}{}", info.major, info.minor);
        head = fmt::format("device {}, {}, best of {}\n", machine.device, info.name, o.repeats);
    }
    ThreadPool pool(static_cast<int>(machine.threads));
    std::string text = bench_ops(app, o, machine, pool);
    if (device == Device::cpu) text += bench_models(app, o, machine, pool);
    if (text.empty())
        fail("bench: no case of {} on {} has '{}' in its name; hint: leave --filter out", o.op, machine.device, o.filter);
    app.results = o.json ? std::move(text) : head + text;
}

}  // namespace adder
