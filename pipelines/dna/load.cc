#include "pipelines/dna/load.h"

#include <fmt/core.h>

#include "core/error.h"
#include "datasets/fasta.h"
#include "datasets/inputs.h"
#include "datasets/reads.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

// Above this share of N a user should know that much of the input is not scored.
constexpr double kManyN = 0.01;

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
};

void add_record(const std::string& name, const std::string& letters, Reading& to) {
    TokenRecord out{.name = name, .symbols = {}, .label = {}, .group = {}};
    encode(letters, out.symbols, to.counts);
    ++to.counts.records;
    to.records.push_back(std::move(out));
}

ReadFilter read_filter(const DnaOptions& o) { return {o.min_length, o.min_quality, o.min_base_quality}; }

void read_fasta(InputFile file, Reading& to) {
    if (read_filter(to.options).needs_qualities())
        to.warnings.push_back(file.path() + ": FASTA has no qualities, so that no quality is asked of it");
    FastaReader reader(std::move(file));
    for (FastaRecord record; reader.next(record);) add_record(record.name, record.sequence, to);
    to.summary = fmt::format("{} records, {} bases", to.counts.records, to.counts.bases);
}

void read_reads(InputFile file, Reading& to) {
    const std::string path = file.path(), format = name_of(file.format());
    ReadsReader reader(std::move(file), read_filter(to.options), to.options.reference);
    for (Read read; reader.next(read);) add_record(read.name, read.sequence, to);
    to.summary = fmt::format("{}: {}", format, reader.counts().text(read_filter(to.options)));
    if (reader.counts().kept == 0) to.warnings.push_back(path + ": no read is kept");
}

// Picks the reader by what the file holds; what is unknown FASTA's reader explains.
void read_file(const std::string& path, Reading& to) {
    InputFile file(path);
    if (file.format() == SequenceFormat::fasta || file.format() == SequenceFormat::other)
        read_fasta(std::move(file), to);
    else
        read_reads(std::move(file), to);
}

// Reads one list of inputs to the end of `data.records` and reports it.
void read(const std::vector<std::string>& inputs, const char* role, const DnaOptions& options, Dataset& data) {
    BaseCounts total;
    for (const std::string& file : sequence_inputs(inputs)) {
        const size_t first = data.records.size();
        Reading reading{options, data.records};
        read_file(file, reading);
        for (size_t i = first; i < data.records.size(); ++i)
            data.records[i].file = static_cast<int32_t>(data.files.size());
        data.files.push_back(file);
        data.report.push_back(fmt::format("{} {}: {}", role, file, reading.summary));
        data.warnings.insert(data.warnings.end(), reading.warnings.begin(), reading.warnings.end());
        total += reading.counts;
    }
    data.report.push_back(fmt::format(
        "{} in all: {} records, {} bases: A C G T {}, N {}, IUPAC {} (read as N); lower case {} (read as upper)", role,
        total.records, total.bases, total.acgt, total.n, total.iupac, total.lower_case));
    const int64_t unscored = total.bases - total.acgt;
    if (static_cast<double>(unscored) > kManyN * static_cast<double>(total.bases))
        data.warnings.push_back(
            fmt::format("{:.1f} % of the bases of the {} are N or IUPAC codes: they are read as N, seen, but not scored",
                        percent(unscored, total.bases), role));
}

void report_parts(const Split& split, Dataset& data) {
    const auto part = [](const std::vector<Segment>& segments) {
        return fmt::format("{} bases in {} segments", n_symbols(segments), segments.size());
    };
    if (!data.valid.empty() || !data.test.empty())
        data.report.push_back(fmt::format("train {}, held out {}, test {}, gap {}", part(data.train), part(data.valid),
                                          part(data.test), split.n_gap));
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
    read(options.input, "input", options.dna, data);
    const std::span<const TokenRecord> inputs(data.records);
    data.digest = digest_of(inputs);
    Split split = split_records(inputs, options.split());
    if (options.splits()) data.split_digest = digest_of(split, inputs);
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
