#include "pipelines/data_options.h"

#include <algorithm>
#include <string_view>

#include "core/error.h"

namespace adder {

namespace {

std::vector<std::string> names_in(std::string_view list) {
    std::vector<std::string> names;
    while (!list.empty()) {
        const size_t comma = std::min(list.find(','), list.size());
        if (comma > 0) names.emplace_back(list.substr(0, comma));
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return names;
}

void add_domains_to(OptionList& list, const OptionList& of_dna, const OptionList& of_audio) {
    list.add_all(of_dna, {"domain", {"dna"}});
    list.add_all(of_audio, {"domain", {"audio"}});
}

constexpr Range kFraction = {.low = 0, .high = 1, .high_excluded = true};

}  // namespace

void DataOptions::add_input_to(OptionList& list) {
    list.add({.name = "input", .value = &input, .unit = "PATH",
              .help = "FASTA or FASTQ (plain, gzip, bgzf), SAM, BAM, CRAM; or WAV, FLAC, OGG, Opus, MP3, AIFF or a manifest of such "
                      "files; or what prepare wrote: a file, a folder, or -",
              .required = true, .is_path = true});
}

void DataOptions::add_split_to(OptionList& list) {
    list.add({.name = "valid", .value = &valid, .unit = "FILE", .help = "held-out data of its own", .is_path = true});
    list.add({.name = "split-bed", .value = &split_bed, .unit = "BED",
              .help = "intervals whose column 'split' (or the fourth) says train, valid or test; the rest is not used",
              .is_path = true});
    list.add({.name = "valid-contigs", .value = &valid_contigs, .unit = "A,B",
              .help = "hold out the contigs, or audio records, of these names"});
    list.add({.name = "test-contigs", .value = &test_contigs, .unit = "A,B",
              .help = "keep the contigs, or audio records, of these names for testing"});
    list.add({.name = "valid-fraction",
              .value = &valid_fraction,
              .unit = "F",
              .help = "hold out the last F of every contig; of reads F of them, whole, by their names; of "
                      "several audio files F of "
                      "them, groups whole",
              .range = kFraction});
    list.add({.name = "test-fraction", .value = &test_fraction, .unit = "F",
              .help = "keep as much for testing, of a contig behind what is held out", .range = kFraction});
    list.add({.name = "gap", .value = &gap, .unit = "BP",
              .help = "bases, or samples of audio, before each of these fractions that belong to no part",
              .range = between(0, kMostPositions)});
}

void DataOptions::add_model_to(OptionList& list) {
    OptionList of_dna, of_audio;
    dna.add_model_to(of_dna);
    audio.add_model_to(of_audio);
    add_domains_to(list, of_dna, of_audio);
}

void DataOptions::add_reading_to(OptionList& list) {
    OptionList of_dna, of_audio;
    dna.add_reading_to(of_dna);
    audio.add_reading_to(of_audio);
    add_domains_to(list, of_dna, of_audio);
}

void DataOptions::add_symbols_to(OptionList& list) {
    OptionList of_audio;
    audio.add_symbols_to(of_audio);
    add_domains_to(list, {}, of_audio);
}

bool DataOptions::splits() const {
    return !split_bed.empty() || !valid_contigs.empty() || !test_contigs.empty() || valid_fraction > 0 ||
           test_fraction > 0 || audio.splits();
}

const DataOptions& DataOptions::split_of(const std::string& digest) const {
    return known_split && digest == known_digest ? *known_split : *this;
}

SplitOptions DataOptions::split() const {
    return {valid_fraction, test_fraction, gap, names_in(valid_contigs), names_in(test_contigs), split_bed};
}

void DataOptions::check() const {
    const bool contigs = !valid_contigs.empty() || !test_contigs.empty();
    const bool fractions = valid_fraction > 0 || test_fraction > 0;
    if (!valid.empty() + !split_bed.empty() + contigs + fractions + audio.splits() > 1)
        throw UsageError(
            "--valid, --split-bed, --valid-contigs or --test-contigs, --valid-where or --test-where, and --valid-fraction or "
            "--test-fraction exclude each other");
    if (gap > 0 && !fractions) throw UsageError("--gap: needs --valid-fraction or --test-fraction");
    if (valid_fraction + test_fraction >= 1)
        throw UsageError("--valid-fraction, --test-fraction: together they leave nothing to train on");
    // Options of the other domain are refused by their scope, whatever they say.
    if (domain != "dna") audio.check();
}

InUse DataOptions::in_use() const {
    InUse in_use;
    if (!domain.empty()) in_use["domain"] = {domain};
    if (domain == "dna") in_use["tokenizer"] = {dna.tokenizer};
    return in_use;
}

}  // namespace adder
