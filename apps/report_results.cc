#include "apps/report_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/chart.h"
#include "apps/confusion_svg.h"
#include "apps/html.h"
#include "core/error.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr int64_t kColumns = 100;

// ---- bits ----

struct Bits {
    std::string name;
    double bits;
    int64_t order;  // of a context model; -1 = the model itself or another
};

std::vector<Bits> bits_of(const OrderedJson& evaluation) {
    std::vector<Bits> rows = {{"model", number_at(evaluation, "bits_per_token"), -1}};
    if (evaluation.contains("baselines"))
        for (const auto& [name, bits] : evaluation["baselines"].items()) {
            const bool order = name.rfind("order_", 0) == 0 && name.size() <= 8 &&
                               name.find_first_not_of("0123456789", 6) == std::string::npos &&
                               name.size() > 6;
            rows.push_back({name, bits.get<double>(), order ? std::stoll(name.substr(6)) : -1});
        }
    return rows;
}

std::string order_chart(const std::vector<Bits>& rows, const std::string& token) {
    std::vector<Bits> orders;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(orders),
                 [](const Bits& b) { return b.order >= 0; });
    if (orders.size() < 3) return "";
    std::sort(orders.begin(), orders.end(), [](const Bits& a, const Bits& b) { return a.order < b.order; });
    std::vector<double> x, y;
    for (const Bits& b : orders) x.push_back(static_cast<double>(b.order)), y.push_back(b.bits);
    const std::vector<double> ends = {x.front(), x.back()}, model = {rows[0].bits, rows[0].bits};
    const ChartSeries series[] = {{"model", 0, ends, model}, {"context model", 1, x, y, true}};
    return "<figure>" +
           line_chart({"model (blue) beside context models (orange)", "order", "bits per " + token}, series,
                      kColumns) +
           "</figure>\n";
}

std::string verdict(const std::vector<Bits>& rows, const std::string& token) {
    if (rows.size() < 2) return "";
    const Bits& best = *std::min_element(rows.begin() + 1, rows.end(),
                                         [](const Bits& a, const Bits& b) { return a.bits < b.bits; });
    const double gain = best.bits - rows[0].bits;
    return fmt::format(
        "<p>The best of {} context model{} is {} with <b>{:.4f}</b> bits per {}; the model has "
        "<b>{:.4f}</b>: "
        "<span class=\"{}\">{:.4f} bits {}</span>.</p>\n",
        rows.size() - 1, rows.size() == 2 ? "" : "s", html_text(best.name), best.bits, html_text(token),
        rows[0].bits, gain > 0 ? "wins" : "problem", std::abs(gain), gain > 0 ? "less" : "more");
}

std::string evaluation_part(const ReportEntry& e) {
    const std::string token = e.token();
    std::vector<Bits> rows = bits_of(e.evaluation);
    std::string html =
        fmt::format("<h3>{}</h3>\n{}{}", html_text(e.name), verdict(rows, token), order_chart(rows, token));
    std::stable_sort(rows.begin(), rows.end(), [](const Bits& a, const Bits& b) { return a.bits < b.bits; });
    html += fmt::format(
        "<table><caption>over {} {}s that were scored, best first</caption><tr><th>predicted by</th>"
        "<th class=\"n\">bits per {}</th></tr>\n",
        rounded(number_at(e.evaluation, "tokens"), 8), html_text(token), html_text(token));
    for (const Bits& b : rows)
        html +=
            fmt::format("<tr{}><td>{}</td>{}</tr>\n", b.name == "model" ? " class=\"best\"" : "",
                        b.order >= 0 ? fmt::format("context model of order {}", b.order) : html_text(b.name),
                        score_cell(b.bits));
    return html + "</table>\n";
}

// ---- probes ----

constexpr const char* kMeasures[] = {"accuracy", "mcc", "auroc", "macro_f1"};
constexpr const char* kMeasureNames[] = {"accuracy", "MCC", "AUROC", "macro-F1"};

struct ProbeLine {
    std::string key, name;
    double values[4];
};

ProbeLine probe_line(const std::string& key, const std::string& name, const OrderedJson& json) {
    ProbeLine line{key, name, {}};
    for (size_t m = 0; m < 4; ++m) line.values[m] = number_at(json, kMeasures[m]);
    return line;
}

// The model's own embedding first, majority last.
std::vector<ProbeLine> probe_lines(const OrderedJson& probe) {
    std::vector<ProbeLine> lines = {probe_line("model", "the trained model", probe)};
    for (const auto& [key, row] : probe.items()) {
        if (!row.is_object() || !row.contains("accuracy")) continue;
        const double k = number_at(row, "k");
        const std::string name =
            key == "kmer"
                ? (std::isfinite(k) ? fmt::format("{}-mer counts", static_cast<int64_t>(k)) : "k-mer counts")
            : key == "random_init" ? "the same model at random init"
                                   : key;
        lines.push_back(probe_line(key, name, row));
    }
    ProbeLine majority{"majority", "majority", {number_at(probe, "majority"), NAN, NAN, NAN}};
    lines.push_back(majority);
    return lines;
}

// Rows by a measure, best first; those without it are left out.
std::vector<const ProbeLine*> ranked(const std::vector<ProbeLine>& lines, size_t measure) {
    std::vector<const ProbeLine*> order;
    for (const ProbeLine& line : lines)
        if (std::isfinite(line.values[measure])) order.push_back(&line);
    std::stable_sort(order.begin(), order.end(), [&](const ProbeLine* a, const ProbeLine* b) {
        return a->values[measure] > b->values[measure];
    });
    return order;
}

// Which row wins by each of the first three measures, and how sure that is.
std::string probe_verdict(const std::vector<ProbeLine>& lines, double test) {
    std::vector<std::pair<std::string, std::string>> wins;  // "... wins", by what
    for (size_t m = 0; m < 3; ++m) {
        const auto order = ranked(lines, m);
        if (order.size() < 2) continue;
        const std::string first = "<b class=\"wins\">" + html_text(order[0]->name) + "</b>";
        const std::string who = order[1]->values[m] < order[0]->values[m]
                                    ? first + " wins"
                                    : first + " and <b>" + html_text(order[1]->name) + "</b> are equal";
        const auto same =
            std::find_if(wins.begin(), wins.end(), [&](const auto& w) { return w.first == who; });
        if (same == wins.end())
            wins.push_back({who, kMeasureNames[m]});
        else
            same->second += std::string(", ") + kMeasureNames[m];
    }
    if (wins.empty()) return "";
    std::string html = "<p>";
    for (const auto& [who, what] : wins)
        html += fmt::format("{}{} by {}", html == "<p>" ? "" : "; ", who, what);
    html += ".";
    const auto order = ranked(lines, 0);
    const double p = order.empty() ? NAN : order[0]->values[0],
                 lead = order.size() > 1 ? p - order[1]->values[0] : NAN;
    const double error = std::sqrt(p * (1 - p) / test);
    if (std::isfinite(lead) && std::isfinite(error) && error > 0)
        html += fmt::format(
            " The best accuracy, {:.4f}, is {:.4f} above that of {}; over {} test examples the standard "
            "error of "
            "such an accuracy is {:.4f}.",
            p, lead, html_text(order[1]->name), rounded(test), error);
    return html + "</p>\n";
}

std::string confusion_figure(const OrderedJson& json, const char* names) {
    if (!json.contains("confusion")) return "";
    std::vector<int64_t> counts;
    for (const OrderedJson& row : json["confusion"])
        for (const OrderedJson& n : row) counts.push_back(n.get<int64_t>());
    return "<figure>" + confusion_svg(json[names].get<std::vector<std::string>>(), counts) +
           "<figcaption>rows: the true class; columns: the predicted one</figcaption></figure>\n";
}

std::string probe_part(const ReportEntry& e) {
    const std::vector<ProbeLine> lines = probe_lines(e.probe);
    const double test = number_at(e.probe, "test");
    std::string html = fmt::format(
        "<h3>{}</h3>\n{}<table><caption>logistic regression on frozen features, {} test examples of {} "
        "classes, best accuracy first</caption><tr><th>features</th>",
        html_text(e.name), probe_verdict(lines, test), rounded(test), rounded(number_at(e.probe, "classes")));
    for (const char* name : kMeasureNames) html += fmt::format("<th class=\"n\">{}</th>", name);
    html += "</tr>\n";
    bool first = true;
    for (const ProbeLine* line : ranked(lines, 0)) {
        html += fmt::format("<tr{}><td>{}</td>", first ? " class=\"best\"" : "", html_text(line->name));
        for (const double value : line->values) html += score_cell(value);
        html += "</tr>\n";
        first = false;
    }
    return html + "</table>\n" + confusion_figure(e.probe, "labels");
}

// ---- classifiers ----

std::string classifier_part(const ReportEntry& e) {
    const OrderedJson& c = e.classification;
    std::string html = fmt::format("<h3>{}</h3>\n", html_text(e.name));
    if (!c.is_null() && c.contains("accuracy")) {
        const auto on = c.find("on");
        html += fmt::format("<table><caption>{} {} records, at step {}</caption><tr>",
                            rounded(number_at(c, "n"), 8),
                            on != c.end() && on->is_string() ? html_text(on->get<std::string>()) : "held-out",
                            rounded(number_at(c, "step"), 8));
        for (const char* name : kMeasureNames) html += fmt::format("<th class=\"n\">{}</th>", name);
        html += "<th class=\"n\">nats per record</th></tr>\n<tr>";
        for (const char* key : kMeasures) html += score_cell(number_at(c, key));
        html += score_cell(number_at(c, "nats_per_record")) + "</tr></table>\n";
    } else {
        html += "<p class=\"soft\">There were no labelled records to test it on.</p>\n";
    }
    if (!c.is_null()) html += confusion_figure(c, "classes");
    if (!e.confusion_picture.empty()) {
        const std::string svg = read_file(e.confusion_picture);
        html += fmt::format("<figure><img alt=\"confusion matrix\" src=\"{}\"></figure>\n",
                            data_uri("image/svg+xml", std::as_bytes(std::span(svg))));
    }
    return html;
}

template <class Has, class Part>
std::string section(const char* heading, std::span<const ReportEntry> entries, const Has& has,
                    const Part& part) {
    std::string html;
    for (const ReportEntry& e : entries)
        if (has(e)) html += part(e);
    return html.empty() ? html : fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", heading, html);
}

}  // namespace

std::string evaluation_section(std::span<const ReportEntry> entries) {
    return section(
        "Bits beside baselines", entries, [](const ReportEntry& e) { return !e.evaluation.is_null(); },
        evaluation_part);
}

std::string probe_section(std::span<const ReportEntry> entries) {
    return section(
        "What a simple classifier finds in the embeddings", entries,
        [](const ReportEntry& e) { return !e.probe.is_null(); }, probe_part);
}

std::string classifier_section(std::span<const ReportEntry> entries) {
    return section(
        "Classifiers", entries,
        [](const ReportEntry& e) { return !e.classification.is_null() || !e.confusion_picture.empty(); },
        classifier_part);
}

OrderedJson results_json(std::span<const ReportEntry> entries) {
    const OrderedJson *evaluation = nullptr, *probe = nullptr;
    double width = 1;  // bases a token
    for (const bool runs : {true, false}) {
        for (const ReportEntry& e : entries) {
            if (e.is_run() != runs || e.token() == "sample" || (e.evaluation.is_null() && e.probe.is_null()))
                continue;
            if (!evaluation && !e.evaluation.is_null()) evaluation = &e.evaluation;
            if (!probe && !e.probe.is_null()) probe = &e.probe;
            const OrderedJson* tokenizer = e.option("tokenizer");
            if (tokenizer && *tokenizer == "kmer") width = number_at(e.run["options"], "kmer");
            if (runs) break;
        }
        if (evaluation || probe) break;
    }
    if (!evaluation && !probe)
        fail(
            "--json-out: no run has eval.json or probe.json; hint: adder eval --json >RUN/eval.json, adder "
            "probe --json "
            ">RUN/probe.json");
    OrderedJson json;
    if (evaluation)
        for (const Bits& b : bits_of(*evaluation)) json["bits_per_base"][b.name] = b.bits / width;
    if (!probe) return json;
    for (const ProbeLine& line : probe_lines(*probe)) {
        OrderedJson& row = json["probe"][line.key];
        if (line.key == "majority")
            row = line.values[0];
        else
            row = {{"accuracy", line.values[0]}, {"mcc", line.values[1]}, {"auroc", line.values[2]}};
    }
    json["probe"]["test"] = probe->contains("test") ? (*probe)["test"] : OrderedJson();
    return json;
}

}  // namespace adder
