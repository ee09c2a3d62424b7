#include "apps/cmd_predict.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "apps/command_line.h"
#include "apps/finetune_options.h"
#include "apps/labelled_data.h"
#include "apps/output_file.h"
#include "apps/record_classifier.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/with_room.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr CommandText kText = {"predict", kPredictSummary,
                               "adder predict --checkpoint classifier --best --input records.fa --out classes.tsv"};

// `logs` (n,C): logarithms of probabilities.
std::string table_of(const Dataset& data, const std::vector<std::string>& classes, const std::vector<double>& logs) {
    std::string table = "name\tlabel";
    for (const std::string& name : classes) table += "\t" + table_field(name);
    table += "\n";
    for (size_t i = 0; i < data.records.size(); ++i) {
        const auto row = std::span(logs).subspan(i * classes.size(), classes.size());
        const auto best = static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
        table += table_field(data.records[i].name) + "\t" + table_field(classes[best]);
        for (const double x : row) table += fmt::format("\t{}", std::exp(x));
        table += "\n";
    }
    return table;
}

}  // namespace

void run_predict(App& app, const std::vector<std::string>& args) {
    cli::PredictOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (answered(app, kText, line, list, o.machine)) return;
    require_all(list);
    check_output_or_stdout(list, "out", o.overwrite);
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();
    LoadedModel loaded(o.checkpoint.checkpoint, o.checkpoint.best, compute);
    loaded.require_classifier();
    DataOptions reading = loaded.reading(o.data);
    check_scopes(list, line.chosen, reading.in_use());
    reading.needs_classes = false;
    const Dataset data = loaded.domain.load(reading);
    report(app.console, data, list);
    require_tokens(data);
    const StopSignals signals;
    std::vector<int64_t> all(data.records.size());
    std::iota(all.begin(), all.end(), int64_t{0});
    const int64_t tokens = o.batch.value_or(score_tile(compute.device, loaded.model.config()));
    const auto classifier = make_with_room("--batch", tokens, o.batch ? tokens : kLeastScoreTile, [&](int64_t n) {
        auto made = std::make_unique<RecordClassifier>(loaded.model, compute, *loaded.tokenizer, n);
        made->reserve(data.records, all);
        return made;
    });
    std::string table;
    try {
        table = table_of(data, loaded.model.config().classes, classifier->classify(data.records, all, &signals.flag()));
    } catch (const Interrupted&) {
        fail("predict: stopped by a signal before the end; nothing was written");
    }
    if (o.out == "-") return void(app.results = std::move(table));
    write_file(o.out, table);
    app.console.line(fmt::format("{} records: {}", data.records.size(), o.out));
}

}  // namespace adder
