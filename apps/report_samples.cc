#include "apps/report_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/chart.h"
#include "apps/composition.h"
#include "apps/html.h"
#include "core/error.h"
#include "datasets/fasta.h"

namespace adder {

namespace {

constexpr int64_t kShownRecords = 6, kShownBases = 480, kLine = 80;
// Of long files; enough for the shares of 2,080 6-mers to be right to a few percent.
constexpr int64_t kMostBases = 16'000'000;
constexpr size_t kChartedK = 2;  // index into kCompositionK: 4-mers, 136 of them

struct Shown {
    std::string header, sequence;  // the first kShownBases of it
    int64_t bases = 0;
};

// The first records of a file; `n_records` of all of it.
std::vector<Shown> first_records(const std::string& path, int64_t& n_records) {
    FastaReader reader(path);
    FastaRecord record;
    std::vector<Shown> shown;
    for (n_records = 0; reader.next_header(record); ++n_records) {
        if (n_records >= kShownRecords) continue;
        Shown& s = shown.emplace_back(Shown{record.header, "", 0});
        for (std::string_view run; !(run = reader.next_letters()).empty();
             s.bases += static_cast<int64_t>(run.size()))
            s.sequence += run.substr(0, static_cast<size_t>(kShownBases) - s.sequence.size());
    }
    return shown;
}

std::string letters_html(const Shown& s) {
    std::string html = fmt::format("<p class=\"soft\"><code>{}</code> \xC2\xB7 {} bases</p>\n<pre>",
                                   html_text(s.header), grouped(s.bases));
    for (size_t at = 0; at < s.sequence.size(); at += kLine)
        html +=
            fmt::format("{}{}", at ? "\n" : "", html_text(std::string_view(s.sequence).substr(at, kLine)));
    return html + (s.bases > kShownBases ? "\n\xE2\x80\xA6</pre>\n" : "</pre>\n");
}

std::vector<std::string> training_files(const ReportEntry& e) {
    std::vector<std::string> files;
    if (const auto data = e.run.find("data");
        data != e.run.end() && data->is_object() && data->contains("files"))
        for (const OrderedJson& file : (*data)["files"])
            if (file.is_string()) files.push_back(file.get<std::string>());
    return files;
}

void append_row(std::string& html, const std::string& name, const Composition& c, const Composition* beside) {
    html += fmt::format("<tr><td>{}</td>{}{}{}", name, number_cell(static_cast<double>(c.records)),
                        number_cell(static_cast<double>(c.bases)), number_cell(100 * c.gc, 4));
    for (size_t i = 0; beside && i < kCompositionK.size(); ++i)
        html += number_cell(divergence_bits(c.kmers[i], beside->kmers[i]), 3);
    html += "</tr>\n";
}

std::string composition_table(const Composition& made, const Composition* trained, const Composition* piece) {
    std::string html = "<table><caption>";
    if (trained)
        html +=
            "composition; on the right the Jensen-Shannon divergence (bits) of the k-mers, both strands, "
            "from those of the "
            "input files: 0 = alike";
    html +=
        "</caption><tr><th></th><th class=\"n\">records</th><th class=\"n\">bases</th><th class=\"n\">GC "
        "%</th>";
    for (size_t i = 0; trained && i < kCompositionK.size(); ++i)
        html += fmt::format("<th class=\"n\">{}-mers</th>", kCompositionK[i]);
    html += "</tr>\n";
    append_row(html, "generated", made, trained);
    if (piece) append_row(html, "as many bases of those files", *piece, trained);
    if (trained) append_row(html, "the input files of the run", *trained, trained);
    return html + "</table>\n";
}

std::string kmer_chart(const Composition& made, const Composition& trained) {
    std::vector<std::pair<double, double>> pairs;
    for (size_t i = 0; i < made.kmers[kChartedK].size(); ++i)
        pairs.emplace_back(100 * trained.kmers[kChartedK][i], 100 * made.kmers[kChartedK][i]);
    std::sort(pairs.begin(), pairs.end());
    std::vector<double> x, y;
    for (const auto& [a, b] : pairs) x.push_back(a), y.push_back(b);
    const ChartSeries series{"4-mers", 0, x, y};
    const ChartText text{.title = "4-mers: generated against input files",
                         .x_label = "% of the input files",
                         .y_label = "% of the generated",
                         .by_points = true,
                         .diagonal = true};
    return "<figure>" + line_chart(text, {&series, 1}, 1000) + "</figure>\n";
}

std::string composition_html(const ReportEntry& e) {
    const Composition made = composition_of({e.samples}, kMostBases);
    const std::vector<std::string> files = training_files(e);
    if (files.empty()) return composition_table(made, nullptr, nullptr);
    try {
        for (const std::string& file : files)
            if (!std::filesystem::exists(file)) fail("{}: not here", file);
        const Composition trained = composition_of(files, kMostBases),
                          piece = composition_of(files, made.bases);
        std::string html = composition_table(made, &trained, &piece) + kmer_chart(made, trained);
        if (trained.bases >= kMostBases)
            html += fmt::format("<p class=\"soft\">Of the input files the first {} bases were counted.</p>\n",
                                grouped(kMostBases));
        return html;
    } catch (const std::exception& error) {
        return composition_table(made, nullptr, nullptr) +
               fmt::format("<p class=\"soft\">Not compared with what the model was trained on: {}</p>\n",
                           html_text(error.what()));
    }
}

std::string sample_part(const ReportEntry& e) {
    std::string html = fmt::format("<h3>{}</h3>\n", html_text(e.name));
    try {
        int64_t n_records = 0;
        const std::vector<Shown> shown = first_records(e.samples, n_records);
        html += composition_html(e);
        for (const Shown& s : shown) html += letters_html(s);
        if (n_records > kShownRecords)
            html += fmt::format("<p class=\"soft\">The first {} of {} records of {}.</p>\n", kShownRecords,
                                grouped(n_records), html_text(e.samples));
    } catch (const Error& error) {
        html += fmt::format("<p class=\"problem\">{}</p>\n", html_text(error.what()));
    }
    return html;
}

}  // namespace

std::string sample_section(std::span<const ReportEntry> entries) {
    std::string html;
    for (const ReportEntry& e : entries)
        if (!e.samples.empty()) html += sample_part(e);
    return html.empty() ? html : "<section>\n<h2>Generated DNA</h2>\n" + html + "</section>\n";
}

}  // namespace adder
