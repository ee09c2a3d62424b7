// Which records of audio are for training, for choosing a model and for testing it.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "datasets/labels.h"
#include "pipelines/data_options.h"
#include "pipelines/records.h"
#include "pipelines/split.h"

namespace adder::audio {

// What is known of a record beside its symbols.
struct RecordFacts {
    SplitPart part = SplitPart::none;
    std::map<std::string, std::string> fields;  // of the file's name
};

// In this order: the parts that a manifest names (`has_parts`); --valid-where and --test-where;
// --valid-contigs and --test-contigs, names of records; --valid-fraction and --test-fraction: of several
// groups or, without groups, files these fractions of the files, whole groups or files, drawn by a hash of
// their names, so that a file stays where it is when others come; of a single one the last parts of every
// record, with --gap before them. Held-out records stand in an order of their own, by a hash, so that the first of them are a
// fair sample. Errors: two ways at once, a choice that fits no record or leaves none to train on, those of
// split_records.
Split split_audio(std::span<const TokenRecord> records, std::span<const std::string> files,
                  std::span<const RecordFacts> facts, bool has_parts, const DataOptions& options);

// Of any split, whoever made it: groups that are both trained on and held out, and whole files that are held
// out while nothing says which speakers they are of.
std::vector<std::string> warnings_of_split(std::span<const TokenRecord> records, const Split& split);

}  // namespace adder::audio
