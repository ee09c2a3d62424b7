#include "apps/cmd_eval.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/eval_data.h"
#include "apps/output_file.h"
#include "apps/run_options.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/json_text.h"
#include "core/with_room.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr CommandText kText = {"eval", kEvalSummary, "adder eval --checkpoint run --input genome.fa --json"};

using Json = nlohmann::ordered_json;

// Targets that count less than others make a sum that is no whole number.
Json count_of(double weight) {
    return weight == std::floor(weight) ? Json(static_cast<int64_t>(weight)) : Json(weight);
}

std::string as_text(const Json& result, const std::string& token) {
    const bool is_weighted = result.contains("mask_weight");
    const std::string weighted =
        is_weighted ? fmt::format(", weighted: lower case counts {}", result["mask_weight"].get<double>()) : "";
    std::string text = fmt::format("{:.6f} bits per {} ({:.6f} nats) over {} {}s{}\n",
                                   result["bits_per_token"].get<double>(), token, result["nats_per_token"].get<double>(),
                                   result["tokens"].dump(), token, weighted);
    if (result.contains("bits_per_sample"))
        text += fmt::format("{:.6f} bits per sample\n", result["bits_per_sample"].get<double>());
    if (result.contains("baselines"))
        for (const auto& [name, bits] : result["baselines"].items())
            text += fmt::format("{:.6f} bits per {}: {}\n", bits.get<double>(), token, name);
    if (result.contains("best_baseline"))
        text += fmt::format("the best of these context models: {}\n", result["best_baseline"].get<std::string>());
    return text;
}

// A row of every record with a segment, in order; `sums`: of every segment.
std::string table_of(const Dataset& data, std::span<const Segment> segments, std::span<const LossSums> sums) {
    std::map<int64_t, LossSums> of_record;
    for (size_t i = 0; i < segments.size(); ++i) {
        LossSums& all = of_record[segments[i].record];
        all.loss += sums[i].loss;
        all.weight += sums[i].weight;
    }
    std::string table = "name\ttokens\tnats\n";
    for (const auto& [record, all] : of_record)
        table += fmt::format("{}\t{}\t{}\n", table_field(data.records[static_cast<size_t>(record)].name), all.weight,
                             all.loss);
    return table;
}

}  // namespace

void run_eval(App& app, const std::vector<std::string>& args) {
    cli::EvalOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (answered(app, kText, line, list, o.machine)) return;
    require_all(list);
    o.check();
    check_output(list, "per-record", o.overwrite);
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();

    LoadedModel loaded(o.checkpoint.checkpoint, o.checkpoint.best, compute);
    loaded.require_language_model();
    DataOptions reading = loaded.reading(o.data);
    if (o.mask_weight) reading.dna.mask_weight = *o.mask_weight;
    check_scopes(list, line.chosen, reading.in_use());
    const Dataset data = load_evaluation(loaded, reading, list, line.given, app.console);
    const std::vector<Segment> segments = evaluated_part(data, o.part);
    if (!o.baselines.empty() && data.valid.empty() && data.test.empty())
        fail("--baselines: the input is not split; hint: a split such as --valid-fraction, they learn from the other part");

    const StopSignals signals;
    const int64_t tile = std::min(o.tile.value_or(score_tile(compute.device, loaded.model.config())),
                                  std::max<int64_t>(n_symbols(segments), 1));
    // A tile that was asked for stays.
    const auto scorer = make_with_room("--tile", tile, o.tile ? tile : kLeastScoreTile, [&](int64_t T) {
        return std::make_unique<SegmentScorer>(loaded.model, compute, *data.tokenizer, T);
    });
    LossSums sums;
    std::vector<LossSums> of_segment(segments.size());
    try {
        sums = scorer->score(
            data.records, segments, [&](size_t i, const LossSums& own) { of_segment[i] = own; }, &signals.flag());
    } catch (const Interrupted&) {
        fail("eval: stopped by a signal before the end; nothing was written");
    }
    if (sums.weight == 0)
        fail("eval: nothing to score: no {} that counts has another one before it", data.tokenizer->token());
    if (!o.per_record.empty()) write_file(o.per_record, table_of(data, segments, of_segment));

    const double nats = sums.loss / sums.weight;
    Json result = {{"nats_per_token", nats}, {"bits_per_token", nats / std::numbers::ln2},
                   {"tokens", count_of(sums.weight)}};
    if (reading.dna.mask_weight != 1) result["mask_weight"] = reading.dna.mask_weight;
    if (const int64_t n = data.tokenizer->tokens_per_sample(); n > 0)
        result["bits_per_sample"] = static_cast<double>(n) * nats / std::numbers::ln2;
    const std::vector<Baseline> baselines = loaded.domain.evaluate(data, segments, o.baseline_orders(), *loaded.tokenizer);
    for (const Baseline& b : baselines) result["baselines"][b.name] = b.bits_per_token;
    if (baselines.size() > 1)
        result["best_baseline"] = std::min_element(baselines.begin(), baselines.end(), [](const Baseline& a, const Baseline& b) {
                                      return a.bits_per_token < b.bits_per_token;
                                  })->name;
    app.results = o.json ? json_text(result) + "\n" : as_text(result, data.tokenizer->token());
}

}  // namespace adder
