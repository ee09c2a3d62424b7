#include "apps/cmd_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command_line.h"
#include "apps/confusion_svg.h"
#include "apps/output_file.h"
#include "apps/probe_inputs.h"
#include "apps/probe_options.h"
#include "apps/probe_table.h"
#include "core/json_text.h"
#include "io/file.h"
#include "train/folds.h"

namespace adder {

namespace {

constexpr CommandText kText = {"probe", kProbeSummary,
                               "adder probe --embeddings e.h5 --labels labels.tsv --sequences windows.fa\n"
                               "adder probe --embeddings e.h5 --labels labels.tsv --group gene --json"};

template <class Field>
std::vector<std::string> column(const LabelTable& table, Field field) {
    std::vector<std::string> values;
    for (const LabelRow& row : table.rows) values.push_back(row.*field);
    return values;
}

std::vector<ProbeFold> given_folds(const LabelTable& table) {
    ProbeFold fold;
    for (size_t i = 0; i < table.rows.size(); ++i) {
        const SplitPart part = table.rows[i].split;
        (part == SplitPart::train   ? fold.train
         : part == SplitPart::valid ? fold.valid
                                    : fold.test)
            .push_back(static_cast<int64_t>(i));
    }
    if (fold.train.empty() || fold.test.empty())
        fail("[probe] {}: column 'split' has no {} rows; hint: it needs train and test", table.path,
             fold.train.empty() ? "train" : "test");
    return {fold};
}

// "2 classes (a, b)", "7 classes (a, b, c, ...)"
std::string some_of(const std::vector<std::string>& classes) {
    constexpr size_t kShown = 5;
    const size_t shown = std::min(classes.size(), kShown);
    return fmt::format("{} class{} ({}{})", classes.size(), classes.size() == 1 ? "" : "es",
                       fmt::join(classes.begin(), classes.begin() + static_cast<int64_t>(shown), ", "),
                       classes.size() > shown ? ", ..." : "");
}

void warn_of_small_classes(Console& console, const ProbeExamples& e, const std::vector<std::string>& classes,
                           std::span<const ProbeFold> folds) {
    std::vector<int64_t> trained(classes.size()), tested(classes.size());  // in how many folds
    for (const ProbeFold& f : folds) {
        std::set<int32_t> in_train, in_test;
        for (const int64_t i : f.train) in_train.insert(e.labels[static_cast<size_t>(i)]);
        for (const int64_t i : f.test) in_test.insert(e.labels[static_cast<size_t>(i)]);
        for (const int32_t c : in_train) ++trained[static_cast<size_t>(c)];
        for (const int32_t c : in_test) ++tested[static_cast<size_t>(c)];
    }
    const auto with_less = [&](const std::vector<int64_t>& times) {
        std::vector<std::string> names;
        for (size_t c = 0; c < classes.size(); ++c)
            if (times[c] < static_cast<int64_t>(folds.size())) names.push_back(classes[c]);
        return names;
    };
    if (const auto names = with_less(trained); !names.empty())
        console.line(fmt::format("warning: {} without training examples in some part: there they cannot be predicted",
                                 some_of(names)));
    if (const auto names = with_less(tested); !names.empty())
        console.line(fmt::format("warning: {} without test examples in some part", some_of(names)));
}

std::string heading(const LabelTable& table, const ProbeExamples& e, std::span<const ProbeFold> folds,
                    const LabelledFeatures& features) {
    const std::string parts = table.has_split
                                  ? fmt::format("{} to train, {} to choose the penalty, {} to test",
                                                folds[0].train.size(), folds[0].valid.size(), folds[0].test.size())
                                  : fmt::format("{} folds", folds.size());
    const std::string groups = e.groups.empty() ? ""
                                                : fmt::format(", {} groups kept whole",
                                                              *std::max_element(e.groups.begin(), e.groups.end()) + 1);
    return fmt::format("{} examples of {} classes, {} features: {}{}", features.n, e.n_classes, features.d, parts,
                       groups);
}

}  // namespace

void run_probe(App& app, const std::vector<std::string>& args) {
    cli::ProbeOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (o.machine.device.empty()) o.machine.device = "cpu";
    if (line.print_config) return void(app.results = config_text(list));
    require_all(list);
    o.check();
    const auto compared = o.compared();
    check_output(list, "confusion", o.overwrite);
    Machine machine(o.machine, app.console);
    if (machine.gpu()) app.console.line("a probe is computed on the processor");

    const LabelTable table = read_labels(o.labels, o.group);
    const std::vector<std::string> labels = column(table, &LabelRow::label);
    ProbeTable result;
    result.classes = classes_of(labels);
    if (result.classes.size() < 2)
        fail("[probe] {}: all labels are '{}'; hint: two classes are needed", o.labels, result.classes.front());
    ProbeExamples examples{{}, {}, static_cast<int64_t>(result.classes.size()), static_cast<uint64_t>(o.seed)};
    for (const std::string& label : labels)
        examples.labels.push_back(static_cast<int32_t>(
            std::lower_bound(result.classes.begin(), result.classes.end(), label) - result.classes.begin()));
    if (table.has_group) examples.groups = numbered(column(table, &LabelRow::group));
    const std::vector<ProbeFold> folds =
        table.has_split ? given_folds(table) : cross_validation(examples, static_cast<int32_t>(o.folds));
    warn_of_small_classes(app.console, examples, result.classes, folds);

    // Everything is read before anything is computed: a wrong file shows at once.
    const LabelledFeatures embedding = read_embeddings(o.embeddings, table);
    std::vector<LabelledFeatures> others, kmers;
    for (const auto& [name, path] : compared) others.push_back(read_embeddings(path, table));
    if (!o.sequences.empty()) kmers = read_kmers({o.sequences, o.regions, &list}, table, static_cast<int>(o.most_k));

    const auto row_of = [&](const std::string& name, std::span<const LabelledFeatures> sets) {
        std::vector<FeatureRows> candidates;
        for (const LabelledFeatures& set : sets) candidates.push_back(set.rows());
        const auto say = [&](int64_t fold) {
            app.console.line(fmt::format("{}: part {} of {} done", name, fold + 1, folds.size()));
        };
        return probe_row(name, probe(machine.pool(), candidates, examples, folds, say), examples.n_classes);
    };
    result.heading = heading(table, examples, folds, embedding);
    result.majority = probe_row("majority", majority_probe(examples, folds), examples.n_classes);
    result.embedding = row_of("embedding", {&embedding, 1});
    for (size_t i = 0; i < compared.size(); ++i) result.compared.push_back(row_of(compared[i].first, {&others[i], 1}));
    if (!kmers.empty()) {
        result.kmer.push_back(row_of("k-mers", kmers));
        result.kmer.back().k = result.kmer.back().candidate + 1;
        result.kmer.back().name = fmt::format("{}-mer", result.kmer.back().k);
    }
    if (!o.confusion.empty())
        write_file(o.confusion, confusion_svg(result.classes, result.embedding.metrics.confusion));
    app.results = o.json ? json_text(result.json()) + "\n" : result.text();
}

}  // namespace adder
