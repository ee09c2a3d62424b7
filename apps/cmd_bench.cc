#include "apps/cmd_bench.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/model_bench.h"
#include "apps/op_rows.h"
#include "apps/run_options.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_table.h"

namespace adder {

namespace {

constexpr CommandText kText = {"bench", kBenchSummary,
                               "adder bench scan --threads 1\nadder bench all --json\n"
                               "adder bench train_step --mixer mamba2 --d-model 512 --layers 4 --length 65536"};

using Json = nlohmann::ordered_json;

// Throws UsageError for a name that is neither an op nor a row of a whole model.
void check_name(const std::string& name) {
    std::vector<std::string> names = {"all"};
    for (const OpEntry& op : all_ops()) names.push_back(op.name);
    names.insert(names.end(), std::begin(kModelRows), std::end(kModelRows));
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw UsageError(fmt::format("bench: unknown op '{}'; the nearest is '{}'", name, nearest_name(name, names)));
}

bool misses(const ModelTiming& t) { return t.parity > kParity; }

// The keys by which rows of other programs are joined: case layer d n B L tok_s.
Json model_row(const ModelCase& c, const ModelTiming& t) {
    Json row = {{"case", c.what}};
    if (!c.mixer.empty()) {
        row["layer"] = c.mixer == "mamba1" ? "Mamba1" : "Mamba2";
        row["d"] = c.d_model;
        row["n"] = c.n_layer;
    }
    row["B"] = c.B;
    if (c.L > 0) row["L"] = c.L;
    if (t.tile > 0) row["tile"] = t.tile;
    if (t.keep >= 0) row["keep"] = t.keep;
    if (t.parameters > 0) row["params"] = t.parameters;
    if (c.L > 0)
        row["ms"] = t.best_ms;
    else
        row["us_per_step"] = 1e3 * t.best_ms;
    row["tok_s"] = t.tokens_per_s;
    row["median_ms"] = t.median_ms;
    row["runs"] = t.runs;
    if (t.memory_bytes > 0) row["peak_GB"] = 1e-9 * static_cast<double>(t.memory_bytes);
    if (t.idle_pct >= 0) {
        row["idle_pct"] = t.idle_pct;
        row["idle_steps"] = t.idle_steps;
    }
    if (t.parity >= 0) {
        row["parity_max_rel"] = t.parity;
        row["parity_steps"] = t.parity_steps;
        row["parity"] = !misses(t);
    }
    return row;
}

std::string model_line(const ModelCase& c, const ModelTiming& t) {
    std::string text = fmt::format("{:<46} {:>9} {:>12.0f}", c.title(), milliseconds(t.best_ms), t.tokens_per_s);
    if (t.tile > 0) text += fmt::format("  tile {}", t.tile);
    if (t.keep >= 0) text += fmt::format(" keep {}", t.keep);
    if (t.memory_bytes > 0) text += fmt::format("  {:.2f} GB", 1e-9 * static_cast<double>(t.memory_bytes));
    if (t.idle_pct >= 0) text += fmt::format("  idle {:.1f} %", t.idle_pct);
    if (t.parity >= 0)
        text += fmt::format("  {} f32 within {:.2g} over {} steps", misses(t) ? "NOT" : "as", t.parity, t.parity_steps);
    return text;
}

std::string bench_models(App& app, const cli::BenchOptions& o, const BenchMachine& machine, const Compute& compute,
                         std::vector<std::string>& problems) {
    std::string text;
    for (const ModelCase& c : model_cases(o, compute.device)) {
        if (!chosen(o, c.what, c.title())) continue;
        app.console.line("timing " + c.title());
        ModelTiming t;
        try {
            t = time_model(c, compute, o);
        } catch (const Error& e) {
            // The other rows are wanted all the same.
            app.console.line(e.what());
            problems.push_back(c.title());
            continue;
        }
        const std::string line = model_line(c, t);
        // Seen even where a later row ends the program.
        if (machine.gpu) app.console.line(line);
        if (misses(t)) problems.push_back(c.title());
        if (o.json) {
            Json row = model_row(c, t);
            row["device"] = machine.device;
            row["isa"] = machine.isa;
            row["threads"] = machine.threads;
            row["dtype"] = name_of(compute.storage);
            text += row.dump() + '\n';
        } else {
            text += line + '\n';
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
    if (answered(app, kText, line, list, o.machine)) return;
    require_all(list);
    check_name(o.op);
    o.check();
    Machine on(o.machine, app.console);
    const Compute compute = on.compute();

    const BenchMachine machine{o.machine.device, on.isa(), *o.machine.threads, on.gpu()};
    const std::string head =
        on.gpu() ? fmt::format("device {}, {}, best of {}\n", machine.device, on.name(), o.repeats)
                 : fmt::format("device {}, isa {}, threads {}, OpenBLAS {}, best of {}\n", machine.device, machine.isa,
                               machine.threads, openblas_core(), o.repeats);
    std::vector<std::string> problems;
    std::string text = bench_ops(app, o, machine, on.pool());
    text += bench_models(app, o, machine, compute, problems);
    if (!problems.empty()) {
        app.console.line(text);
        fail("bench: {} rows failed or differ from f32 by more than {}: {}", problems.size(), kParity,
             fmt::join(problems, "; "));
    }
    if (text.empty() && o.filter.empty()) fail("bench: {} has no timed case on {}", o.op, machine.device);
    if (text.empty())
        fail("bench: no case of {} on {} has '{}' in its name; hint: leave --filter out", o.op, machine.device, o.filter);
    app.results = o.json ? std::move(text) : head + text;
}

}  // namespace adder
