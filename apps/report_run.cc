#include "apps/report_run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "apps/listen_page.h"
#include "apps/run_folder.h"
#include "core/error.h"
#include "datasets/audio.h"
#include "datasets/fasta.h"
#include "io/file.h"
#include "model/model.h"
#include "train/checkpoint.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool exists(const std::string& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

OrderedJson read_json(const std::string& path) {
    OrderedJson json = OrderedJson::parse(read_file(path), nullptr, false);
    if (json.is_discarded()) fail("{}: is no JSON; hint: was it written to the end?", path);
    if (!json.is_object()) fail("{}: expected a JSON object", path);
    return json;
}

void add_step(ReportEntry& e, const OrderedJson& row) {
    StepColumns& s = e.steps;
    const double tokens = number_at(row, "tokens"), speed = number_at(row, "tokens_per_s");
    const double before = s.tokens.empty() ? 0 : s.tokens.back(), spent = (tokens - before) / speed;
    s.seconds.push_back((s.seconds.empty() ? 0 : s.seconds.back()) +
                        (std::isfinite(spent) && spent > 0 ? spent : 0));
    s.step.push_back(number_at(row, "step"));
    s.loss.push_back(number_at(row, "loss"));
    s.grad_norm.push_back(number_at(row, "grad_norm"));
    s.lr.push_back(number_at(row, "lr"));
    s.tokens.push_back(tokens);
    s.tokens_per_s.push_back(speed);
}

void add_held_out(ReportEntry& e, const OrderedJson& row) {
    HeldOutColumns& h = e.held_out;
    h.step.push_back(number_at(row, "step"));
    h.loss.push_back(number_at(row, "valid_loss"));
    h.tokens.push_back(e.steps.tokens.empty() ? 0 : e.steps.tokens.back());
    h.seconds.push_back(e.steps.seconds.empty() ? 0 : e.steps.seconds.back());
    h.accuracy.push_back(number_at(row, "valid_accuracy"));
    h.macro_f1.push_back(number_at(row, "valid_macro_f1"));
    h.mcc.push_back(number_at(row, "valid_mcc"));
}

// Rows up to the first that is damaged; a torn last one is what a running or killed process leaves.
void read_metrics(ReportEntry& e) {
    const std::string path = e.folder + "/metrics.jsonl";
    std::ifstream file(path, std::ios::binary);
    if (!file) return e.problems.push_back("metrics.jsonl: missing or unreadable, so there are no curves");
    std::string line;
    for (int64_t number = 1; std::getline(file, line); ++number) {
        if (line.empty()) continue;
        const OrderedJson row = OrderedJson::parse(line, nullptr, false);
        const bool is_row = row.is_object() && std::isfinite(number_at(row, "step"));
        if (!is_row && file.eof())
            return e.problems.push_back(fmt::format("metrics.jsonl: its last line {} is not whole", number));
        const auto& last = row.is_object() && row.contains("valid_loss") ? e.held_out.step : e.steps.step;
        if (!is_row || (!last.empty() && number_at(row, "step") < last.back()))
            return e.problems.push_back(
                fmt::format("metrics.jsonl: line {} is {}; the curves end before it", number,
                            is_row ? "of an earlier step than the line before" : "no row of metrics"));
        if (row.contains("valid_loss"))
            add_held_out(e, row);
        else
            add_step(e, row);
    }
    if (e.steps.step.empty() && e.held_out.step.empty()) e.problems.push_back("metrics.jsonl: has no rows");
}

class ParameterCount : public ParamVisitor {
  public:
    int64_t count = 0;

  private:
    void on_param(const ParamSpec& spec, Param&) override { count += spec.shape.numel(); }
};

void count_parameters(ReportEntry& e) {
    if (last_checkpoint(e.folder).empty())
        return e.problems.push_back("no complete checkpoint, so the number of parameters is not known");
    try {
        LanguageModel model(load_config(find_checkpoint(e.folder, false)));
        ParameterCount counter;
        model.visit(counter);
        e.parameters = counter.count;
    } catch (const std::exception& error) {
        e.problems.push_back(fmt::format("the number of parameters is not known: {}", error.what()));
    }
}

enum class Kind { evaluation, probe, classification, unknown };

Kind kind_of(const OrderedJson& json) {
    if (json.contains("bits_per_token")) return Kind::evaluation;
    if (json.contains("majority") && json.contains("accuracy")) return Kind::probe;
    if (json.contains("classes") && json["classes"].is_array()) return Kind::classification;
    return Kind::unknown;
}

void check_evaluation(const OrderedJson& json) {
    if (!std::isfinite(number_at(json, "bits_per_token"))) fail("'bits_per_token' is no number");
    if (!json.contains("baselines")) return;
    if (!json["baselines"].is_object()) fail("'baselines' is no object");
    for (const auto& [name, bits] : json["baselines"].items())
        if (!bits.is_number()) fail("'baselines.{}' is no number", name);
}

// Counts for every pair of classes, or neither.
void check_confusion(const OrderedJson& json, const char* names) {
    if (!json.contains("confusion")) return;
    const bool named = json.contains(names) && json[names].is_array() && !json[names].empty();
    bool fits = named && json["confusion"].is_array() && json["confusion"].size() == json[names].size();
    for (size_t i = 0; fits && i < json[names].size(); ++i) {
        const OrderedJson& row = json["confusion"][i];
        fits = json[names][i].is_string() && row.is_array() && row.size() == json[names].size();
        for (size_t j = 0; fits && j < row.size(); ++j)
            fits = row[j].is_number_integer() && row[j].get<int64_t>() >= 0;
    }
    if (!fits) fail("'confusion' is not a count for each pair of '{}'", names);
}

void take_json(ReportEntry& e, const std::string& path, std::optional<Kind> expected) {
    try {
        OrderedJson json = read_json(path);
        const Kind kind = kind_of(json);
        if (kind == Kind::unknown || (expected && kind != *expected))
            fail("{}: not what adder {} --json writes", path,
                 !expected                       ? "eval, probe or finetune"
                 : *expected == Kind::evaluation ? "eval"
                 : *expected == Kind::probe      ? "probe"
                                                 : "finetune");
        try {
            if (kind == Kind::evaluation) check_evaluation(json);
            if (kind == Kind::probe) check_confusion(json, "labels");
            if (kind == Kind::classification) check_confusion(json, "classes");
        } catch (const Error& error) {
            fail("{}: {}; hint: write it again with --json", path, error.what());
        }
        (kind == Kind::evaluation ? e.evaluation
         : kind == Kind::probe    ? e.probe
                                  : e.classification) = std::move(json);
    } catch (const Error& error) {
        if (!expected) throw;
        e.problems.push_back(error.what());
    }
}

// The folder itself, or those directly in it, as far as generate wrote them.
std::vector<ClipFolder> clip_folders(const std::string& folder) {
    std::vector<std::string> folders{folder};
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
        if (entry.is_directory(ignored)) folders.push_back(entry.path().string());
    std::sort(folders.begin(), folders.end());
    std::vector<ClipFolder> found;
    for (const std::string& f : folders) {
        if (!generated_clips(f)) continue;
        ClipFolder& to = found.emplace_back(ClipFolder{f + "/" + kListenPage, {}});
        for (const auto& entry : fs::directory_iterator(f, ignored))
            if (written_type(entry.path().string())) to.clips.push_back(entry.path().string());
        std::sort(to.clips.begin(), to.clips.end());
    }
    return found;
}

void read_folder(ReportEntry& e) {
    const auto file = [&](const char* name) { return e.folder + "/" + name; };
    const auto is_there = [&](const RunFile& f) { return exists(file(f.name)); };
    e.clips = clip_folders(e.folder);
    if (const auto files = run_files(); e.clips.empty() && std::none_of(files.begin(), files.end(), is_there))
        fail(
            "{}: holds nothing of a run; hint: give the --out folder of train or finetune, or JSON and FASTA "
            "files",
            e.name);
    if (exists(file("run.json"))) {
        try {
            e.run = read_json(file("run.json"));
        } catch (const Error& error) {
            e.problems.push_back(error.what());
        }
        count_parameters(e);
    } else if (exists(file("metrics.jsonl"))) {
        e.problems.push_back("run.json: missing, so options and data are not known");
    }
    if (exists(file("metrics.jsonl")) || !e.run.is_null()) read_metrics(e);
    if (exists(file("classification.json"))) take_json(e, file("classification.json"), Kind::classification);
    if (exists(file("eval.json"))) take_json(e, file("eval.json"), Kind::evaluation);
    if (exists(file("probe.json"))) take_json(e, file("probe.json"), Kind::probe);
    if (exists(file("confusion.svg")) && !e.classification.contains("confusion"))
        e.confusion_picture = file("confusion.svg");
    if (exists(file("generated.fa"))) e.samples = file("generated.fa");
}

}  // namespace

double number_at(const OrderedJson& json, const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_number() ? it->get<double>() : kNan;
}

const OrderedJson* ReportEntry::option(const char* key) const {
    const auto options = run.find("options");
    if (options == run.end() || !options->is_object()) return nullptr;
    const auto it = options->find(key);
    return it == options->end() || it->is_null() ? nullptr : &*it;
}

bool ReportEntry::is_classifier() const {
    return option("checkpoint") || run.contains("best_by") || !classification.is_null();
}

std::string ReportEntry::token() const {
    if (is_classifier()) return "record";
    const OrderedJson *domain = option("domain"), *tokenizer = option("tokenizer"), *k = option("kmer");
    if (!domain || !domain->is_string()) return "token";
    if (*domain == "audio") return "sample";
    if (*domain != "dna") return "token";
    return tokenizer && *tokenizer == "kmer" ? (k ? k->dump() + "-mer" : "k-mer") : "base";
}

double ReportEntry::steps_planned() const {
    const OrderedJson* planned = option("steps");
    return planned && planned->is_number() ? planned->get<double>() : kNan;
}

ReportEntry read_entry(const std::string& path) {
    ReportEntry e;
    e.name = path;
    while (e.name.size() > 1 && e.name.back() == '/') e.name.pop_back();
    std::error_code error;
    if (!fs::exists(path, error))
        fail("{}: no such file or folder; hint: give run folders, or JSON and FASTA files", path);
    if (fs::is_directory(path, error)) {
        e.folder = e.name;
        read_folder(e);
        return e;
    }
    const std::string extension = fs::path(path).extension().string();
    if (extension == ".json") {
        take_json(e, path, std::nullopt);
        return e;
    }
    if (written_type(path)) {
        const AudioInput input(path);
        AudioReader reader(input);  // another format, damage
        e.clips = {{"", {path}}};
        return e;
    }
    FastaRecord record;
    FastaReader(path).next(record);  // another format, damage
    e.samples = path;
    return e;
}

}  // namespace adder
