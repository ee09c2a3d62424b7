#include "pipelines/dna/load.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "core/error.h"
#include "datasets/fasta.h"
#include "datasets/inputs.h"
#include "datasets/labels.h"
#include "datasets/reads.h"
#include "pipelines/dna/tokenizer.h"
#include "pipelines/record_names.h"
#include "pipelines/symbol_buffer.h"

namespace adder::dna {

namespace {

// Above this share of N a user should know that much of the input is not scored.
constexpr double kManyN = 0.01;
// Above this share of other letters it is no DNA.
constexpr double kManyOthers = 0.05;

double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// What one file gives: records at the end of `records`, what was counted on the way, and how to say so.
struct Reading {
    const DnaOptions& options;
    std::vector<TokenRecord>& records;
    BaseCounts counts = {};
    std::string summary = {};
    std::vector<std::string> warnings = {};
    std::vector<SplitPart> parts = {};  // of its records, where it says so: a manifest
};

void add_record(const std::string& name, const std::string& letters, Reading& to) {
    TokenRecord out{.name = name};
    encode(letters, out.symbols, to.counts);
    ++to.counts.records;
    to.records.push_back(std::move(out));
}

void check_letters(const std::string& path, const BaseCounts& counts) {
    if (static_cast<double>(counts.other) <= kManyOthers * static_cast<double>(counts.bases)) return;
    fail("[dna] {}: {:.0f} % of the letters are no nucleotide codes (A C G T U N or IUPAC), it looks like protein; hint: "
         "adder reads DNA and RNA",
         path, percent(counts.other, counts.bases));
}

ReadFilter read_filter(const DnaOptions& o) { return {o.min_length, o.min_quality, o.min_base_quality}; }

void read_fasta(InputFile file, Reading& to) {
    if (read_filter(to.options).needs_qualities())
        to.warnings.push_back(file.path() + ": FASTA has no qualities, so that no quality is asked of it");
    const std::string path = file.path();
    FastaReader reader(std::move(file));
    SymbolBuffer buffer;
    std::unordered_set<std::string> names;
    BaseCounts all;  // with the records that are left out
    int64_t n_short = 0, skipped = 0;
    for (FastaRecord record; reader.next_header(record);) {
        if (!names.insert(record.name).second)
            fail("[dna] {}: two records are called {}; hint: rename one, the first word of a header is its name", path,
                 record.name);
        BaseCounts own;
        for (std::string_view run; !(run = reader.next_letters()).empty();) encode(run, buffer.room(), own);
        skipped += reader.skipped();
        all += own;
        TokenRecord out{.name = record.name, .symbols = buffer.take()};
        if (own.bases < to.options.min_length) {
            ++n_short;
            continue;
        }
        to.counts += own;
        ++to.counts.records;
        to.records.push_back(std::move(out));
    }
    check_letters(path, all);
    to.summary = fmt::format("{} records, {} bases", to.counts.records, to.counts.bases);
    if (skipped > 0) to.summary += fmt::format(", {} '-' and '*' skipped", skipped);
    if (n_short > 0) to.summary += fmt::format(", {} records shorter than {} left out", n_short, to.options.min_length);
}

void read_reads(InputFile file, Reading& to) {
    const std::string path = file.path(), format = name_of(file.format());
    ReadsReader reader(std::move(file), read_filter(to.options), to.options.reference);
    for (Read read; reader.next(read);) add_record(read.name, read.sequence, to);
    check_letters(path, to.counts);
    to.summary = fmt::format("{}: {}", format, reader.counts().text(read_filter(to.options)));
    if (reader.counts().kept == 0) to.warnings.push_back(path + ": no read is kept");
}

void read_file(const std::string& path, Reading& to);

// The part of a record that a row means, in bases from 0.
void cut(const Manifest& manifest, const ManifestRow& row, TokenRecord& record) {
    const auto n = static_cast<double>(record.symbols.size()), begin = row.start.value_or(0), end = row.end.value_or(n);
    if (begin != std::floor(begin) || end != std::floor(end) || end > n || begin >= end)
        fail("[dna] {}: line {}: start {} and end {} are not within the {} bases of {}; hint: whole bases from 0, the end "
             "behind the last one", manifest.path, row.line, begin, end, n, record.name);
    const auto at = [&](double base) { return record.symbols.begin() + static_cast<int64_t>(base); };
    record.symbols = std::vector<uint8_t>(at(begin), at(end));
}

// Rows with a sequence are records; the records of a row's file have its label, and its name where they are one.
void read_manifest_rows(const std::string& path, Reading& to) {
    const Manifest manifest = read_manifest(path, false);
    Reading one{to.options, to.records};
    int64_t n_short = 0;
    for (const ManifestRow& row : manifest.rows) {
        const size_t first = to.records.size();
        one.parts.clear();
        if (!row.path.empty()) {
            read_file(row.path, one);
            if (!one.parts.empty()) fail("[dna] {}: line {}: {} is a manifest too; hint: name its rows here", path, row.line, row.path);
        } else {
            add_record(row.name, row.sequence, one);
        }
        const size_t count = to.records.size() - first;
        for (size_t i = first; i < to.records.size(); ++i) {
            TokenRecord& r = to.records[i];
            r.name = count == 1 ? row.name : row.name + ":" + r.name;
            r.label = row.label;
            r.group = row.group;
            if (row.start || row.end) cut(manifest, row, r);
        }
        if (row.path.empty() && static_cast<int64_t>(to.records.back().symbols.size()) < to.options.min_length) {
            to.records.pop_back();
            ++n_short;
        }
        to.parts.resize(to.parts.size() + to.records.size() - first, row.split);
    }
    to.counts = one.counts;
    to.counts.records = static_cast<int64_t>(to.parts.size());
    check_letters(path, to.counts);
    to.warnings = one.warnings;
    to.summary = fmt::format("manifest of {} rows, {} records, {} bases", manifest.rows.size(), to.counts.records,
                             to.counts.bases);
    if (n_short > 0) to.summary += fmt::format(", {} records shorter than {} left out", n_short, to.options.min_length);
}

// Picks the reader by what the file holds; what is unknown FASTA's reader explains.
void read_file(const std::string& path, Reading& to) {
    if (looks_like_manifest(path)) return read_manifest_rows(path, to);
    InputFile file(path);
    if (file.format() == SequenceFormat::fasta || file.format() == SequenceFormat::other)
        read_fasta(std::move(file), to);
    else
        read_reads(std::move(file), to);
}

void report_bases(const char* role, const BaseCounts& total, const DnaOptions& options, Dataset& data) {
    const std::string lower = options.mask_weight == 1 ? "read as upper" : fmt::format("counted {} times", options.mask_weight);
    const std::string other = total.other > 0 ? fmt::format(", other letters {} (read as N)", total.other) : "";
    data.report.push_back(fmt::format(
        "{} in all: {} records, {} bases: A C G T {}, N {}, IUPAC {} (read as N){}; lower case {} ({})", role,
        total.records, total.bases, total.acgt, total.n, total.iupac, other, total.lower_case, lower));
    const int64_t unscored = total.bases - total.acgt;
    if (static_cast<double>(unscored) > kManyN * static_cast<double>(total.bases))
        data.warnings.push_back(
            fmt::format("{:.1f} % of the bases of the {} are N or IUPAC codes: they are read as N, seen, but not scored",
                        percent(unscored, total.bases), role));
}

// Reads one list of inputs to the end of `data.records` and reports it. Gives the parts that manifests name, one a record.
std::vector<SplitPart> read(const std::vector<std::string>& inputs, const char* role, const DnaOptions& options,
                            Dataset& data) {
    BaseCounts total;
    std::vector<SplitPart> parts;
    const size_t first_record = data.records.size();
    for (const std::string& file : sequence_inputs(inputs)) {
        const size_t first = data.records.size();
        Reading reading{options, data.records};
        read_file(file, reading);
        for (size_t i = first; i < data.records.size(); ++i)
            data.records[i].file = static_cast<int32_t>(data.files.size());
        reading.parts.resize(data.records.size() - first, SplitPart::none);
        parts.insert(parts.end(), reading.parts.begin(), reading.parts.end());
        data.files.push_back(file);
        data.report.push_back(fmt::format("{} {}: {}", role, file, reading.summary));
        data.warnings.insert(data.warnings.end(), reading.warnings.begin(), reading.warnings.end());
        total += reading.counts;
    }
    qualify_names(std::span(data.records).subspan(first_record), data.files);
    report_bases(role, total, options, data);
    return parts;
}

// Whole records; those of which nothing is said are for training.
Split split_of(const std::vector<SplitPart>& parts, std::span<const TokenRecord> records) {
    Split split;
    for (const Segment& s : whole_records(records)) {
        const SplitPart part = parts[static_cast<size_t>(s.record)];
        (part == SplitPart::valid ? split.valid : part == SplitPart::test ? split.test : split.train).push_back(s);
    }
    return split;
}

void report_parts(const Split& split, Dataset& data) {
    const auto part = [](const std::vector<Segment>& segments) {
        return fmt::format("{} bases in {} segments", n_symbols(segments), segments.size());
    };
    if (!data.valid.empty() || !data.test.empty())
        data.report.push_back(fmt::format("train {}, held out {}, test {}, in no part {}", part(data.train), part(data.valid),
                                          part(data.test), split.n_unused));
    int64_t n_short = 0;
    for (const Segment& s : data.train) n_short += n_positions(*data.tokenizer, member_of(data.records, s)) == 0;
    if (n_short > 0)
        data.warnings.push_back(
            fmt::format("{} segment(s) of a single {}: nothing to predict in them", n_short, data.tokenizer->token()));
}

}  // namespace

Dataset load(const DataOptions& options) {
    Dataset data;
    data.tokenizer = make_tokenizer(options.dna);
    const std::vector<SplitPart> parts = read(options.input, "input", options.dna, data);
    const std::span<const TokenRecord> inputs(data.records);
    data.digest = digest_of(inputs);
    const bool named = std::any_of(parts.begin(), parts.end(), [](SplitPart p) { return p != SplitPart::none; });
    if (named && (options.splits() || !options.valid.empty()))
        fail("[split] the manifest's column 'split' says what is held out; hint: leave out that column, or the options");
    Split split = named ? split_of(parts, inputs) : split_records(inputs, data.files, options.split());
    if (named || options.splits()) data.split_digest = digest_of(split, inputs);
    if (!options.valid.empty()) {
        if (options.splits()) fail("[split] give either held-out files or a split of the input, not both");
        const size_t n_inputs = data.records.size();
        read(options.valid, "held-out input", options.dna, data);
        const std::span<const TokenRecord> held_out = std::span(data.records).subspan(n_inputs);
        data.valid_digest = digest_of(held_out);
        split.valid = whole_records(held_out);
        for (Segment& s : split.valid) s.record += static_cast<int64_t>(n_inputs);
    }
    data.train = std::move(split.train);
    data.valid = std::move(split.valid);
    data.test = std::move(split.test);
    report_parts(split, data);
    return data;
}

}  // namespace adder::dna
