#include "pipelines/dna/load.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "datasets/fasta.h"
#include "datasets/fasta_index.h"
#include "datasets/inputs.h"
#include "datasets/labels.h"
#include "datasets/reads.h"
#include "io/file.h"
#include "io/hdf5.h"
#include "pipelines/dna/tokenizer.h"
#include "pipelines/held_out.h"
#include "pipelines/record_names.h"
#include "pipelines/symbol_buffer.h"
#include "pipelines/store.h"

namespace adder::dna {

namespace {

// Above this share of N a user should know that much of the input is not scored.
constexpr double kManyN = 0.01;
// Above this share of other letters it is no DNA.
constexpr double kManyOthers = 0.05;

double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// What is the same for all files of a data set.
struct Loading {
    const DataOptions& options;
    WantedNames wanted{options.only};
    SequenceNumbers sequences = {};
};

// What one file gives: records at the end of `records`, what was counted on the way, and how to say so.
struct Reading {
    Loading& loading;
    GivenFiles& given;  // of all files with the same role
    std::vector<TokenRecord>& records;
    StoredParts& parts;
    const DnaOptions& options = loading.options.dna;
    BaseCounts counts = {};
    std::string summary = {};
    std::vector<std::string> warnings = {}, notes = {};
    std::vector<std::string> unread = {};   // Dataset::unread
    std::vector<std::string> sources = {};  // of a token store: where its records are from
    std::vector<std::string> of_rows = {};  // the files that a manifest names
    bool is_split = false;
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

// What FASTA adds to a Reading, record by record.
class FastaRecords {
  public:
    explicit FastaRecords(Reading& to) : to_(to) {}

    void expect(int64_t n) { buffer_.expect(n); }
    void add_run(std::string_view letters) { encode(letters, buffer_.room(), own_); }
    void end_record(const std::string& name, int64_t skipped) {
        skipped_ += skipped;
        all_ += own_;
        TokenRecord record{.name = name, .symbols = buffer_.take()};
        const BaseCounts own = std::exchange(own_, {});
        if (own.bases < to_.options.min_length) {
            ++n_short_;
            return;
        }
        to_.counts += own;
        ++to_.counts.records;
        to_.records.push_back(std::move(record));
    }
    void leave_unread(const std::string& name) { unread_.push_back(name); }
    void end_file(const std::string& path) {
        check_letters(path, all_);
        to_.summary = fmt::format("{} records, {} bases", to_.counts.records, to_.counts.bases);
        if (skipped_ > 0) to_.summary += fmt::format(", {} '-', '.' and '*' skipped", skipped_);
        if (n_short_ > 0)
            to_.summary += fmt::format(", {} records shorter than {} left out", n_short_, to_.options.min_length);
        if (!unread_.empty()) to_.summary += fmt::format(", {} records that are not asked for", unread_.size());
        to_.unread.insert(to_.unread.end(), unread_.begin(), unread_.end());
    }

  private:
    Reading& to_;
    SymbolBuffer buffer_;
    BaseCounts own_, all_;  // of the present record; with those that are left out
    std::vector<std::string> unread_;
    int64_t n_short_ = 0, skipped_ = 0;
};

// Some records of a file that has an index; the others are not read. False, with nothing added, where the
// index turns out not to fit.
bool read_indexed(const FastaIndex& index, const std::string& path, Reading& to) {
    const size_t n_before = to.records.size();
    const BaseCounts counts_before = to.counts;
    FastaRecords records(to);
    for (const FaiFile::Sequence& s : index.sequences()) {
        if (!to.loading.wanted.has(s.name)) {
            records.leave_unread(s.name);
            continue;
        }
        records.expect(s.length);
        if (!index.read(s, 0, s.length, [&](std::string_view run) { records.add_run(run); })) {
            to.records.resize(n_before);
            to.counts = counts_before;
            return false;
        }
        records.end_record(s.name, 0);
    }
    records.end_file(path);
    return true;
}

void read_fasta(InputFile file, Reading& to) {
    const std::string path = file.path();
    if (read_filter(to.options).needs_qualities())
        to.warnings.push_back(path + ": FASTA has no qualities, so that no quality is asked of it");
    if (!to.loading.wanted.all())
        if (const auto index = FastaIndex::of(path); index && read_indexed(*index, path, to)) return;
    FastaReader reader(std::move(file));
    FastaRecords records(to);
    std::unordered_set<std::string> names;
    for (FastaRecord record; reader.next_header(record);) {
        if (!names.insert(record.name).second)
            fail("[dna] {}: two records are called {}; hint: rename one, the first word of a header is its name", path,
                 record.name);
        if (!to.loading.wanted.has(record.name)) {
            records.leave_unread(record.name);
            continue;
        }
        for (std::string_view run; !(run = reader.next_letters()).empty();) records.add_run(run);
        records.end_record(record.name, reader.skipped());
    }
    records.end_file(path);
}

void read_reads(InputFile file, Reading& to) {
    const std::string path = file.path(), format = name_of(file.format());
    ReadsReader reader(std::move(file), read_filter(to.options), to.options.reference);
    for (Read read; reader.next(read);) {
        add_record(read.name, read.sequence, to);
        to.records.back().is_read = true;
    }
    check_letters(path, to.counts);
    to.summary = fmt::format("{}: {}", format, reader.counts().text(read_filter(to.options)));
    if (reader.counts().kept == 0) to.warnings.push_back(path + ": no read is kept");
}

// IUPAC codes are N in symbols already.
void count_symbols(std::span<const uint8_t> symbols, BaseCounts& counts) {
    int64_t acgt = 0, lower = 0;
    for (const uint8_t symbol : symbols) {
        acgt += is_base(symbol);
        lower += (symbol & kLower) != 0;
    }
    const auto n = static_cast<int64_t>(symbols.size());
    counts += {.records = 1, .bases = n, .acgt = acgt, .n = n - acgt, .lower_case = lower};
}

void read_prepared(const std::string& path, Reading& to) {
    const size_t first = to.records.size();
    const StoreInfo info = read_store(path, "dna", to.records, to.parts);
    check_settings(path, info.settings, to.options.symbol_settings(), DnaOptions{}.symbol_settings());
    for (size_t i = first; i < to.records.size(); ++i) count_symbols(to.records[i].symbols, to.counts);
    to.summary = fmt::format("{} records, {} bases, prepared", to.counts.records, to.counts.bases);
    for (const std::string& line : info.report) to.notes.push_back("  prepared from " + line);
    to.sources = info.sources;
    to.is_split = info.is_split;
}

void read_file(const std::string& path, Reading& to);

// The part of a record that a row means, in bases from 0.
void cut(const Manifest& manifest, const ManifestRow& row, TokenRecord& record) {
    const auto n = static_cast<double>(record.symbols.size()), begin = row.start.value_or(0), end = row.end.value_or(n);
    if (begin != std::floor(begin) || end != std::floor(end) || end > n || begin >= end)
        fail("[dna] {}: line {}: start {} and end {} are not within the {} bases of {}; hint: whole bases from 0, the end "
             "behind the last one", manifest.path, row.line, begin, end, n, record.name);
    record.origin.end = record.origin.begin + end;
    record.origin.begin += begin;
    const auto at = [&](double base) { return record.symbols.begin() + static_cast<int64_t>(base); };
    record.symbols = std::vector<uint8_t>(at(begin), at(end));
}

// The records of one row: its sequence, or those of its file, with its label, and its name where they are one.
void read_row(const Manifest& manifest, const ManifestRow& row, Reading& to) {
    const size_t first = to.records.size();
    if (!row.path.empty()) {
        to.of_rows.push_back(row.path);
        to.given.add(row.path, row.start, row.end, fmt::format("{}, line {}", manifest.path, row.line));
    }
    if (row.path.empty())
        add_record(row.name, row.sequence, to);
    else if (looks_like_hdf5(row.path) || looks_like_manifest(row.path))
        fail("[dna] {}: line {}: {} is no file of sequences; hint: give it as an input of its own", manifest.path, row.line,
             row.path);
    else
        read_file(row.path, to);
    const bool single = to.records.size() == first + 1;
    for (size_t i = first; i < to.records.size(); ++i) {
        TokenRecord& r = to.records[i];
        r.name = single ? row.name : row.name + ":" + r.name;
        r.label = row.label;
        r.group = row.group;
        if (row.start || row.end) cut(manifest, row, r);
    }
}

void read_manifest_rows(const std::string& path, Reading& to) {
    const Manifest manifest = read_manifest(path, false);
    const size_t first = to.records.size();
    int64_t n_short = 0;
    for (const ManifestRow& row : manifest.rows) {
        const size_t begin = to.records.size();
        read_row(manifest, row, to);
        const auto kept = std::remove_if(to.records.begin() + static_cast<int64_t>(begin), to.records.end(), [&](const TokenRecord& r) {
            return static_cast<int64_t>(r.symbols.size()) < to.options.min_length;
        });
        n_short += to.records.end() - kept;
        to.records.erase(kept, to.records.end());
        for (size_t i = begin; manifest.has_split && i < to.records.size(); ++i) {
            const Segment whole{static_cast<int64_t>(i), 0, static_cast<int64_t>(to.records[i].symbols.size())};
            Split& split = to.parts.split;
            (row.split == SplitPart::valid ? split.valid : row.split == SplitPart::test ? split.test : split.train).push_back(whole);
        }
    }
    if (manifest.has_split) {
        to.is_split = to.parts.is_split = true;
        to.parts.split_by = path;
    }
    check_letters(path, to.counts);
    to.summary = fmt::format("manifest of {} rows, {} records", manifest.rows.size(), to.records.size() - first);
    if (n_short > 0) to.summary += fmt::format(", {} records shorter than {} left out", n_short, to.options.min_length);
}

// Picks the reader by what the file holds; what is unknown FASTA's reader explains.
void read_file(const std::string& path, Reading& to) {
    if (looks_like_manifest(path)) return read_manifest_rows(path, to);
    if (looks_like_hdf5(path)) return read_prepared(path, to);
    const size_t first = to.records.size();
    InputFile file(path);
    if (file.format() == SequenceFormat::fasta || file.format() == SequenceFormat::other)
        read_fasta(std::move(file), to);
    else
        read_reads(std::move(file), to);
    const auto records = std::span(to.records).subspan(first);
    int64_t sequence = to.loading.sequences.first_of(path, std::ssize(records));
    for (TokenRecord& r : records) r.origin = {sequence++, 0, static_cast<double>(r.symbols.size())};
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

// The files to read of a list of inputs: none that is held out.
std::vector<std::string> files_of(const std::vector<std::string>& inputs, const HeldOutFiles& held_out, Dataset& data) {
    std::set<std::string> named;
    for (const std::string& input : inputs) named.insert(canonical_file(input));
    std::vector<std::string> files = sequence_inputs(inputs, &data.report);
    std::erase_if(files, [&](const std::string& file) {
        if (!held_out.leaves_out(file, named.count(canonical_file(file)) > 0)) return false;
        data.report.push_back(fmt::format("input {}: held out by --valid, not read as an input", file));
        return true;
    });
    if (files.empty()) fail("[split] every file of --input is held out by --valid; hint: hold out some of them");
    return files;
}

// Reads one list of inputs to the end of `data.records` and reports it.
void read(const std::vector<std::string>& inputs, const char* role, Loading& loading, Dataset& data,
          StoredParts& parts) {
    GivenFiles given;
    BaseCounts total;
    const size_t first_record = data.records.size();
    for (const std::string& file : inputs) {
        data.inputs.push_back(file);
        const size_t first = data.records.size(), first_held_out = parts.held_out.size();
        const auto first_file = static_cast<int32_t>(data.files.size());
        given.add(file);
        Reading reading{loading, given, data.records, parts};
        read_file(file, reading);
        for (size_t i = first; i < data.records.size(); ++i) {
            const auto n = static_cast<int64_t>(data.records[i].symbols.size());
            data.records[i].file += first_file;
            // Beside a store that brings a split, what brings none is for training.
            if (!reading.is_split && n > 0) parts.split.train.push_back({static_cast<int64_t>(i), 0, n});
        }
        for (size_t i = first_held_out; i < parts.held_out.size(); ++i) parts.held_out[i].file += first_file;
        if (reading.sources.empty()) reading.sources = {file};
        data.files.insert(data.files.end(), reading.sources.begin(), reading.sources.end());
        data.inputs.insert(data.inputs.end(), reading.of_rows.begin(), reading.of_rows.end());
        data.report.push_back(fmt::format("{} {}: {}", role, file, reading.summary));
        data.report.insert(data.report.end(), reading.notes.begin(), reading.notes.end());
        data.warnings.insert(data.warnings.end(), reading.warnings.begin(), reading.warnings.end());
        data.unread.insert(data.unread.end(), reading.unread.begin(), reading.unread.end());
        total += reading.counts;
    }
    settle_names(std::span(data.records).subspan(first_record), data.files);
    report_bases(role, total, loading.options.dna, data);
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

// Reads what is held out as files of its own.
void read_held_out(Loading& loading, Dataset& data, StoredParts& parts) {
    StoredParts none;
    std::vector<TokenRecord> inputs = std::exchange(data.records, {});
    read(sequence_inputs(loading.options.valid, &data.report), "held-out input", loading, data, none);
    if (!none.split_by.empty())
        fail("[split] {}: holds parts of its own, so that it cannot be held out; hint: prepare it without a split",
             none.split_by);
    parts.held_out = std::exchange(data.records, std::move(inputs));
}

}  // namespace

Dataset load(const DataOptions& options) {
    Dataset data;
    data.tokenizer = make_tokenizer(options.dna);
    StoredParts parts;
    Loading loading{options};
    const HeldOutFiles held_out(options.valid.empty() ? options.valid : sequence_inputs(options.valid));
    read(files_of(options.input, held_out, data), "input", loading, data, parts);
    data.digest = digest_of(data.records);
    if (options.splits() && !options.valid.empty())
        fail("[split] give either held-out files or a split of the input, not both");
    if (!parts.split_by.empty() && (options.splits() || !options.valid.empty()))
        fail("[split] {}: holds parts of its own; hint: give no other split, or a file without one",
             parts.split_by);
    const DataOptions& how = options.split_of(data.digest);
    Split split = parts.is_split ? std::move(parts.split) : split_records(data.records, data.files, how.split());
    if (how.splits() || parts.is_split) data.split_digest = digest_of(split, data.records);
    if (!options.valid.empty()) read_held_out(loading, data, parts);
    if (!parts.held_out.empty()) add_held_out(std::move(parts.held_out), split, data);
    data.train = std::move(split.train);
    data.valid = std::move(split.valid);
    data.test = std::move(split.test);
    check_parts(data, "bases");
    if (std::string shared = shared_records(data); !shared.empty()) data.warnings.push_back(std::move(shared));
    report_parts(split, data);
    if (options.valid_fraction > 0 && data.valid.empty())
        data.warnings.push_back(
            fmt::format("--valid-fraction {} holds nothing out of {} record(s); hint: a larger fraction, or "
                        "--valid FILE",
                        options.valid_fraction, data.records.size()));
    return data;
}

}  // namespace adder::dna
