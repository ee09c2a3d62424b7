// Options of the data side, visited for the command line, --help, --print-config, run.json and the comparison on resume.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "pipelines/audio/options.h"
#include "pipelines/dna/options.h"
#include "pipelines/split.h"

namespace adder {

struct DataOptions {
    std::string domain = {};
    std::vector<std::string> input = {};  // files, folders or "-"
    std::vector<std::string> valid = {};  // further inputs that are held out; excludes every split
    std::string split_bed = {};
    std::string valid_contigs = {}, test_contigs = {};  // names separated by commas
    double valid_fraction = 0, test_fraction = 0;
    int64_t gap = 0;
    dna::DnaOptions dna = {};
    audio::AudioOptions audio = {};
    // Not an option: the only records that are wanted, by name or "file:name"; others may be left unread. Empty = all.
    std::vector<std::string> only = {};
    // Not an option: the class names of a checkpoint, in the order of their tokens; empty = from the labels of the input.
    std::vector<std::string> classes = {};
    // Not an option: whether what is made of the records depends on the class before them, so that one that is missing is
    // worth a word.
    bool needs_classes = true;
    // No options: records that turn out to have this digest are split as `known_split` says. For an input that can be read
    // but once.
    std::string known_digest = {};
    std::shared_ptr<const DataOptions> known_split = {};

    void add_input_to(OptionList& list);  // where records come from
    void add_split_to(OptionList& list);  // which of them are held out
    // What every domain has of its own: what decides the tokens of a model, read back from its checkpoint, and what
    // belongs to reading one input.
    void add_model_to(OptionList& list);
    void add_reading_to(OptionList& list);
    // Of the options of a model those that decide what a token store holds.
    void add_symbols_to(OptionList& list);

    bool splits() const;  // whether the input is split
    // Those that say how records of this digest are split: these, or what is known of them.
    const DataOptions& split_of(const std::string& digest) const;
    bool holds_out() const { return splits() || !valid.empty(); }
    // Of all options but --valid and those of audio.
    SplitOptions split() const;
    // Throws UsageError for ways of holding out that exclude each other and for options that do not go together.
    void check() const;
    // The domain and the tokenizer, of which other options are.
    InUse in_use() const;
};

}  // namespace adder
