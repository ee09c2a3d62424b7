#include "pipelines/dna/load.h"

#include <fmt/core.h>

#include "core/error.h"
#include "datasets/fasta.h"
#include "datasets/inputs.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

// Above this share of N a user should know that much of the input is not scored.
constexpr double kManyN = 0.01;

double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// What one file gives: records at the end of `records`, and what was counted on the way.
struct Reading {
    const DnaOptions& options;
    std::vector<TokenRecord>& records;
    BaseCounts counts;
};

void read_fasta(const std::string& file, Reading& to) {
    FastaReader reader(file);
    for (FastaRecord record; reader.next(record);) {
        TokenRecord out{.name = record.name, .symbols = {}, .label = {}, .group = {}};
        encode(record.sequence, out.symbols, to.counts);
        ++to.counts.records;
        to.records.push_back(std::move(out));
    }
}

// Picks the reader by what the file holds.
void read_file(const std::string& file, Reading& to) {
    read_fasta(file, to);
}

// Reads one list of inputs to the end of `data.records` and reports it.
void read(const std::vector<std::string>& inputs, const char* role, const DnaOptions& options, Dataset& data) {
    BaseCounts total;
    for (const std::string& file : sequence_inputs(inputs)) {
        const size_t first = data.records.size();
        Reading reading{options, data.records, {}};
        read_file(file, reading);
        for (size_t i = first; i < data.records.size(); ++i)
            data.records[i].file = static_cast<int32_t>(data.files.size());
        data.files.push_back(file);
        data.report.push_back(
            fmt::format("{} {}: {} records, {} bases", role, file, reading.counts.records, reading.counts.bases));
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
