#include "apps/report_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "apps/build_info.h"
#include "apps/chart.h"
#include "apps/clip_player.h"
#include "apps/html.h"
#include "apps/report_clips.h"
#include "apps/report_curves.h"
#include "apps/report_results.h"
#include "apps/report_samples.h"

namespace adder {

namespace {

constexpr const char* kStyle = R"(
.runs th.n{white-space:normal;vertical-align:bottom}.runs td{padding-right:.7em}.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:.6rem 1.4rem}.digest{font:.8rem ui-monospace,monospace}
)";

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string value_text(const OrderedJson& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string option_text(const ReportEntry& e, const char* key) {
    const OrderedJson* value = e.option(key);
    return value ? value_text(*value) : "";
}

std::string field_text(const OrderedJson& json, const char* key) {
    const auto it = json.find(key);
    return it == json.end() || it->is_null() ? "" : value_text(*it);
}

// "mamba2, 4 layers of 64"
std::string model_text(const ReportEntry& e) {
    const std::string mixer = option_text(e, "mixer"), layers = option_text(e, "layers"),
                      width = option_text(e, "d-model");
    if (mixer.empty()) return e.is_classifier() ? "from " + option_text(e, "checkpoint") : "";
    return fmt::format("{}, {} layers of {}", mixer, layers, width);
}

double last_of(const std::vector<double>& column) {
    return column.empty() ? kNan : column.back();
}

double median(std::vector<double> values) {
    std::erase_if(values, [](double v) { return !std::isfinite(v); });
    if (values.empty()) return kNan;
    const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// The row of the lowest held-out loss, of a classifier of the highest macro-F1 or MCC; -1 = there is none.
int64_t best_held_out(const ReportEntry& e) {
    const bool by_mcc = field_text(e.run, "best_by") == "mcc";
    const HeldOutColumns& h = e.held_out;
    int64_t best = -1;
    const auto score = [&](size_t i) {
        return !e.is_classifier() ? -h.loss[i] : by_mcc ? h.mcc[i] : h.macro_f1[i];
    };
    for (size_t i = 0; i < h.loss.size(); ++i)
        if (std::isfinite(score(i)) && (best < 0 || score(i) > score(static_cast<size_t>(best))))
            best = static_cast<int64_t>(i);
    return best;
}

std::string progress_text(const ReportEntry& e) {
    const double done = e.steps.step.empty() ? last_of(e.held_out.step) : e.steps.step.back(),
                 planned = e.steps_planned();
    if (!std::isfinite(done)) return "no steps";
    if (!std::isfinite(planned)) return rounded(done, 12);
    return done >= planned ? rounded(done, 12)
                           : fmt::format("{} of {}, not finished", rounded(done, 12), rounded(planned, 12));
}

// A row a run: what came out.
std::string final_table(std::span<const ReportEntry> runs) {
    std::string html = "<div class=\"wide\"><table class=\"runs\"><tr><th>run</th><th>model</th>";
    for (const char* name :
         {"parameters", "steps", "tokens read", "training time", "tokens/s", "last loss, nats",
          "last loss, bits", "held out, nats", "held out, bits", "best held out, bits", "at step"})
        html += fmt::format("<th class=\"n\">{}</th>", name);
    html += "</tr>\n";
    for (size_t i = 0; i < runs.size(); ++i) {
        const ReportEntry& e = runs[i];
        const double loss = last_of(e.steps.loss), valid = last_of(e.held_out.loss);
        const int64_t best = best_held_out(e);
        const double best_loss = best < 0 ? kNan : e.held_out.loss[static_cast<size_t>(best)];
        const double seconds = last_of(e.steps.seconds), bit = std::numbers::ln2;
        html += fmt::format(
            "<tr><td><span class=\"swatch\" style=\"background:var(--c{})\"></span>{}</td><td>{}</td>", i % 8,
            html_text(e.name), html_text(model_text(e)));
        html += number_cell(e.parameters ? static_cast<double>(*e.parameters) : kNan);
        html += fmt::format("<td class=\"n\">{}</td>{}", html_text(progress_text(e)),
                            number_cell(last_of(e.steps.tokens)));
        html += fmt::format("<td class=\"n\">{}</td>{}", duration_text(seconds),
                            number_cell(std::round(median(e.steps.tokens_per_s))));
        for (const double v : {loss, loss / bit, valid, valid / bit, best_loss / bit}) html += score_cell(v);
        html += number_cell(best < 0 ? kNan : e.held_out.step[static_cast<size_t>(best)]) + "</tr>\n";
    }
    return html +
           "</table></div>\n<p class=\"soft\">Losses are a mean over tokens (of classifiers over records); "
           "the last loss is "
           "of one step. Training time is that of the steps alone, without evaluations.</p>\n";
}

void append_fact(std::string& html, const char* name, const std::string& value) {
    if (!value.empty()) html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, value);
}

// One a line in a cell.
std::string lines_html(const OrderedJson& list) {
    if (!list.is_array()) return html_text(value_text(list));
    constexpr size_t kMost = 12;
    std::string html;
    for (size_t i = 0; i < std::min(list.size(), kMost); ++i)
        html += (i ? "<br>" : "") + std::string("<code>") + html_text(value_text(list[i])) + "</code>";
    return list.size() > kMost
               ? html + fmt::format("<br>and {} more", grouped(static_cast<int64_t>(list.size() - kMost)))
               : html;
}

std::string data_html(const ReportEntry& e) {
    const auto data = e.run.find("data");
    if (data == e.run.end() || !data->is_object()) return "";
    std::string html;
    if (data->contains("files")) append_fact(html, "data", lines_html((*data)["files"]));
    for (const auto& [key, name] : {std::pair{"digest", "digest of the data"},
                                    {"valid_digest", "digest of the held-out input"},
                                    {"split_digest", "digest of the split"}})
        if (const std::string digest = field_text(*data, key); !digest.empty())
            append_fact(html, name, fmt::format("<span class=\"digest\">{}</span>", html_text(digest)));
    std::string counts;
    for (const auto& [key, name] :
         {std::pair{"train_tokens", "training"}, {"valid_tokens", "held out"}, {"test_tokens", "test"}})
        if (const double n = number_at(*data, key); std::isfinite(n))
            counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", rounded(n, 15), name);
    append_fact(html, "tokens", counts);
    if (data->contains("classes") && !(*data)["classes"].empty())
        append_fact(html, "classes", lines_html((*data)["classes"]));
    return html;
}

std::string options_html(const ReportEntry& e) {
    const auto options = e.run.find("options");
    if (options == e.run.end() || !options->is_object()) return "";
    std::string text;
    for (const auto& [name, value] : options->items())
        if (!value.is_null())
            text += fmt::format("{}{:<18} {}", text.empty() ? "" : "\n", name, value_text(value));
    return fmt::format("<details><summary>all options of {}</summary><pre>{}</pre></details>\n",
                       html_text(e.name), html_text(text));
}

std::string what_was_run(const ReportEntry& e) {
    std::string facts;
    append_fact(facts, "command",
                e.run.is_null()     ? ""
                : e.is_classifier() ? "adder finetune"
                                    : "adder train");
    append_fact(facts, "program",
                html_text(fmt::format("adder {} (commit {})", field_text(e.run, "version"),
                                      field_text(e.run, "commit"))));
    std::string device = field_text(e.run, "device");
    for (const char* key : {"device_name", "dtype", "isa"})
        // A processor has no name beside its kind.
        if (const std::string text = field_text(e.run, key); !text.empty() && text != device) device += ", " + text;
    append_fact(facts, "device", html_text(device));
    facts += data_html(e);
    return fmt::format("<h3>{}</h3>\n{}{}", html_text(e.name),
                       e.run.is_null() ? "" : "<table>" + facts + "</table>\n", options_html(e));
}

// Options that are not the same in all runs whose options are known; those of one invocation apart.
std::string differing_options(std::span<const ReportEntry> all) {
    std::vector<const ReportEntry*> runs;
    for (const ReportEntry& e : all)
        if (const auto options = e.run.find("options"); options != e.run.end() && options->is_object())
            runs.push_back(&e);
    if (runs.size() < 2) return "";
    std::vector<std::string> names;
    for (const ReportEntry* e : runs)
        for (const auto& item : e->run["options"].items())
            if (std::find(names.begin(), names.end(), item.key()) == names.end()) names.push_back(item.key());
    for (const char* name : {"out", "overwrite", "resume", "stop-after", "threads", "profile"})
        std::erase(names, name);
    std::string head, rows;
    for (const std::string& name : names) {
        std::set<std::string> values;
        std::string cells;
        for (const ReportEntry* e : runs) {
            const std::string text = option_text(*e, name.c_str());
            values.insert(text);
            cells += fmt::format("<td>{}</td>", text.empty() ? "\xE2\x80\x93" : html_text(text));
        }
        if (values.size() > 1) rows += fmt::format("<tr><th>{}</th>{}</tr>\n", html_text(name), cells);
    }
    if (rows.empty()) return "<p>All options are the same in all runs.</p>\n";
    for (const ReportEntry* e : runs) head += fmt::format("<th>{}</th>", html_text(e->name));
    return fmt::format(
        "<div class=\"wide\"><table><caption>options that "
        "differ</caption><tr><th></th>{}</tr>\n{}</table></div>\n",
        head, rows);
}

std::string problems_html(std::span<const ReportEntry> entries) {
    std::string html;
    for (const ReportEntry& e : entries)
        for (const std::string& problem : e.problems)
            html += fmt::format("<p class=\"problem\">{}: {}</p>\n", html_text(e.name), html_text(problem));
    return html;
}

}  // namespace

std::string report_page(std::span<const ReportEntry> entries, const std::string& folder) {
    std::vector<ReportEntry> runs;
    for (const ReportEntry& e : entries)
        if (e.is_run() && (!e.run.is_null() || !e.steps.step.empty() || !e.held_out.step.empty()))
            runs.push_back(e);
    std::string names;
    for (const ReportEntry& e : entries) names += (names.empty() ? "" : ", ") + e.name;
    std::string head = fmt::format("<h1>adder report</h1>\n<p class=\"soft\">{}</p>\n{}", html_text(names),
                                   problems_html(entries));
    if (!runs.empty())
        head += "<section>\n<h2>Runs</h2>\n" + final_table(runs) + differing_options(runs) + "</section>\n";
    std::string rest = evaluation_section(entries) + probe_section(entries) + classifier_section(entries) +
                       sample_section(entries) + clip_section(entries, folder);
    if (!runs.empty()) {
        rest += "<section>\n<h2>What was run</h2>\n";
        for (const ReportEntry& e : runs) rest += what_was_run(e);
        rest += "</section>\n";
    }
    const BuildInfo& build = build_info();
    rest += fmt::format("<p class=\"soft\">Made by adder {} (commit {}).</p>\n", build.version,
                        html_text(build.commit));
    const auto page = [&](int64_t columns) {
        return html_page({"adder report: " + names, head + curve_section(runs, columns) + rest,
                          std::string(kChartStyle) + kCurveStyle + kClipStyle + kStyle, kChartScript});
    };
    std::string html = page(400);
    for (int64_t columns = 200; columns >= 25 && static_cast<int64_t>(html.size()) > kMostPageBytes;
         columns /= 2)
        html = page(columns);
    return html;
}

}  // namespace adder
