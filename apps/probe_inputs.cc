#include "apps/probe_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "apps/output_file.h"
#include "core/error.h"
#include "datasets/intervals.h"
#include "io/hdf5.h"
#include "pipelines/dna/kmers.h"
#include "pipelines/domain.h"
#include "pipelines/record_names.h"

namespace adder {

namespace {

constexpr int64_t kReadValues = 1 << 20;

// Rows [first, first + n) of `embedding` as f32.
void read_rows(const Hdf5Reader& file, const Hdf5Info& info, int64_t first, int64_t n, std::vector<float>& rows) {
    rows.resize(static_cast<size_t>(n * info.shape[1]));
    if (info.dtype == DType::f32) return file.read("embedding", first, n, rows.data());
    std::vector<double> wide(rows.size());
    file.read("embedding", first, n, wide.data());
    std::transform(wide.begin(), wide.end(), rows.begin(), [](double v) { return static_cast<float>(v); });
}

Hdf5Info checked_info(const Hdf5Reader& file) {
    if (file.has("offset"))
        fail("[probe] {}: holds an embedding for every position; hint: adder embed --pool mean", file.path());
    const Hdf5Info info = file.info("embedding"), names = file.info("name");
    if (info.is_strings || info.shape.size() != 2 || (info.dtype != DType::f32 && info.dtype != DType::f64) ||
        info.shape[0] == 0 || info.shape[1] == 0)
        fail("[probe] {}: 'embedding' is {}; hint: f32 (examples,features), as adder embed writes it", file.path(),
             info.text());
    if (!names.is_strings || names.shape.size() != 1 || names.shape[0] != info.shape[0])
        fail("[probe] {}: 'name' is {}, 'embedding' {}; hint: one name an example", file.path(), names.text(),
             info.text());
    return info;
}

// Calls f(name, symbols) for every sequence.
template <class F>
void for_sequences(const ProbeSequences& sequences, F f) {
    DataOptions options;
    options.domain = "dna";
    options.input = sequences.input;
    const Dataset data = find_domain(options.domain).load(options);
    if (sequences.command) check_was_not_read(*sequences.command, data.inputs);
    if (sequences.regions.empty()) {
        for (const TokenRecord& r : data.records) f(r.name, std::span(r.symbols));
        return;
    }
    const BedFile bed = read_bed(sequences.regions);
    std::vector<int64_t> lengths;
    for (const TokenRecord& r : data.records) lengths.push_back(static_cast<int64_t>(r.symbols.size()));
    const std::vector<int64_t> records = locate(bed, qualified_names(data.records, data.files), lengths);
    for (size_t i = 0; i < records.size(); ++i) {
        const Interval& region = bed.intervals[i];
        f(region.label(), std::span(data.records[static_cast<size_t>(records[i])].symbols)
                              .subspan(static_cast<size_t>(region.begin), static_cast<size_t>(region.size())));
    }
}

}  // namespace

LabelledFeatures read_embeddings(const std::string& path, const LabelTable& labels) {
    const Hdf5Reader file(path);
    const Hdf5Info info = checked_info(file);
    const std::vector<std::string> names = file.read_strings("name", 0, info.shape[0]);
    const std::vector<int64_t> place = match_labels(labels, names, path);
    LabelledFeatures f{{}, info.shape[0], info.shape[1]};
    f.values.resize(static_cast<size_t>(f.n * f.d));
    const int64_t block = std::max<int64_t>(1, kReadValues / f.d);
    std::vector<float> rows;
    for (int64_t first = 0; first < f.n; first += block) {
        const int64_t count = std::min(block, f.n - first);
        read_rows(file, info, first, count, rows);
        for (int64_t i = 0; i < count; ++i) {
            const float* row = rows.data() + i * f.d;
            const auto bad = std::find_if_not(row, row + f.d, [](float v) { return std::isfinite(v); }) - row;
            if (bad < f.d)
                fail(
                    "[probe] {}: the embedding of '{}' (row {}) is {} in column {}; hint: embed again; does the model "
                    "still "
                    "have finite losses?",
                    path, names[static_cast<size_t>(first + i)], first + i, row[bad], bad);
            std::copy(row, row + f.d, f.values.begin() + place[static_cast<size_t>(first + i)] * f.d);
        }
    }
    return f;
}

std::vector<LabelledFeatures> read_kmers(const ProbeSequences& sequences, const LabelTable& labels, int most_k) {
    const auto n = static_cast<int64_t>(labels.rows.size());
    std::vector<dna::KmerFrequencies> kmers;
    std::vector<LabelledFeatures> features;
    for (int k = 1; k <= most_k; ++k) {
        const int64_t d = kmers.emplace_back(k).n_features();
        features.push_back({std::vector<float>(static_cast<size_t>(n * d)), n, d});
    }
    std::unordered_map<std::string_view, int64_t> row_of;
    for (int64_t i = 0; i < n; ++i) row_of.emplace(labels.rows[static_cast<size_t>(i)].name, i);
    std::vector<char> seen(static_cast<size_t>(n), 0);
    for_sequences(sequences, [&](const std::string& name, std::span<const uint8_t> symbols) {
        const auto it = row_of.find(name);
        if (it == row_of.end()) return;
        char& is_seen = seen[static_cast<size_t>(it->second)];
        if (is_seen)
            fail("[probe] {}: a second sequence is named '{}'; hint: names are unique",
                 fmt::join(sequences.input, ", "), name);
        is_seen = 1;
        for (size_t k = 0; k < kmers.size(); ++k)
            kmers[k].of(symbols, features[k].values.data() + it->second * features[k].d);
    });
    const auto missing = std::count(seen.begin(), seen.end(), 0);
    if (missing == 0) return features;
    const auto first = static_cast<size_t>(std::find(seen.begin(), seen.end(), 0) - seen.begin());
    fail(
        "[probe] {}: {} of {} labelled names have no sequence there, '{}' for one; hint: give the sequences that were "
        "embedded, and their --regions",
        fmt::join(sequences.input, ", "), missing, n, labels.rows[first].name);
}

}  // namespace adder
