#include "pipelines/dna/dna.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "datasets/fasta.h"
#include "datasets/inputs.h"
#include "pipelines/dna/context_model.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

// Above this share of N a user should know that much of the input is not scored.
constexpr double kManyN = 0.01;

double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// Reads one list of inputs to the end of `data.records` and reports it.
void read(const std::vector<std::string>& inputs, const char* role, Dataset& data) {
    const std::vector<std::string> files = sequence_inputs(inputs);
    BaseCounts total;
    for (const std::string& file : files) {
        BaseCounts counts;
        FastaReader reader(file);
        for (FastaRecord record; reader.next(record);) {
            data.records.push_back({record.name, encode(record.sequence, file, record.name, counts)});
        }
        data.report.push_back(
            fmt::format("{} {}: {} records, {} bases", role, file, counts.records, counts.bases));
        total += counts;
    }
    data.report.push_back(
        fmt::format("{} in all: {} records, {} bases: A C G T {}, N {}, IUPAC {} (read as N); lower "
                    "case {} (read as upper)",
                    role, total.records, total.bases, total.acgt, total.n, total.iupac, total.lower_case));
    const int64_t unscored = total.n + total.iupac;
    if (static_cast<double>(unscored) > kManyN * static_cast<double>(total.bases)) {
        data.warnings.push_back(
            fmt::format("{:.1f} % of the bases of the {} are N or IUPAC codes: they are read as N, "
                        "seen, but not scored",
                        percent(unscored, total.bases), role));
    }
    data.files.insert(data.files.end(), files.begin(), files.end());
}

void report_parts(const Split& split, Dataset& data) {
    int64_t n_single = 0;
    for (const Segment& s : data.train) n_single += s.size() == 1;
    if (!data.valid.empty()) {
        data.report.push_back(fmt::format("train {} bases in {} segments, held out {} in {}, gap {}",
                                          n_tokens(data.train), data.train.size(), n_tokens(data.valid),
                                          data.valid.size(), split.n_gap));
    }
    if (n_single > 0) {
        data.warnings.push_back(
            fmt::format("{} segment(s) of a single base: nothing to predict in them", n_single));
    }
}

Dataset load(const DataOptions& options) {
    Dataset data;
    read(options.input, "input", data);
    const std::span<const TokenRecord> inputs(data.records);
    data.digest = digest_of(inputs);
    Split split = split_records(inputs, options.split);
    if (!options.valid.empty()) {
        if (!split.valid.empty())
            fail("[split] give either held-out files or a split of the input, not both");
        const size_t n_inputs = data.records.size();
        read(options.valid, "held-out input", data);
        const std::span<const TokenRecord> held_out = std::span(data.records).subspan(n_inputs);
        data.valid_digest = digest_of(held_out);
        split.valid = whole_records(held_out);
        for (Segment& s : split.valid) s.record += static_cast<int64_t>(n_inputs);
    }
    data.train = std::move(split.train);
    data.valid = std::move(split.valid);
    report_parts(split, data);
    return data;
}

nlohmann::json defaults() {
    return {{"length", 1024}, {"batch", 8}};
}

std::vector<Baseline> evaluate(const Dataset& data, std::span<const int64_t> orders) {
    std::vector<Baseline> rows;
    for (const int64_t order : orders) {
        ContextModel model(static_cast<int>(order));
        for (const Segment& s : data.train) model.train(tokens_of(data.records, s));
        BitCount total;
        for (const Segment& s : data.valid) model.score(tokens_of(data.records, s), total);
        rows.push_back({fmt::format("order_{}", order), total.per_base(), total.bases});
    }
    return rows;
}

std::vector<uint8_t> read_prompt(const std::string& text_or_file) {
    BaseCounts counts;
    std::error_code ignored;
    if (text_or_file != "-" && !std::filesystem::exists(text_or_file, ignored)) {
        if (text_or_file.empty())
            fail("[dna] prompt: is empty; hint: give bases or a FASTA file, or leave it out");
        return encode(text_or_file, "prompt", "(text, no file of this name)", counts);
    }
    FastaReader reader(text_or_file);
    FastaRecord record, second;
    reader.next(record);
    if (reader.next(second)) {
        fail("[dna] {}: expected one record as prompt, got several ({}, {}, ...); hint: give a file with one",
             text_or_file, record.name, second.name);
    }
    return encode(record.sequence, text_or_file, record.name, counts);
}

std::vector<uint16_t> alphabet(bool every_letter) {
    std::vector<uint16_t> ids{kA, kC, kG, kT};
    if (every_letter) ids.push_back(kN);
    return ids;
}

void append_sample(std::string& out, std::string_view header, std::span<const uint16_t> ids) {
    append_fasta(out, header, decode(ids));
}

}  // namespace

constinit const Domain kDomain{
    .name = "dna",
    .token = "base",
    .vocabulary = kVocabulary,
    .rules = token_rules,
    .defaults = defaults,
    .load = load,
    .evaluate = evaluate,
    .read_prompt = read_prompt,
    .alphabet = alphabet,
    .append_sample = append_sample,
};

}  // namespace adder::dna
