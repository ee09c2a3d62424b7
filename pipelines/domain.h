// The seam between a domain (DNA today) and everything else: a domain is one folder beside this file and one
// line in registry.cc.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/records.h"

namespace adder {

struct DataOptions {
    std::vector<std::string> input;  // files, folders or "-"
    std::vector<std::string> valid;  // further inputs that are held out; excludes `split`
    SplitOptions split;
};

// What a domain makes of its inputs. Segments index `records`.
struct Dataset {
    std::vector<TokenRecord> records;   // of the inputs, then of the held-out inputs
    std::vector<Segment> train, valid;  // valid is empty unless something is held out
    std::vector<std::string> files;     // what was read, in order
    std::string digest,
        valid_digest;  // digest_of the inputs' records, and of the held-out inputs' ("" without)
    std::vector<std::string> report;    // lines for the user: counts of what was read, kept and dropped
    std::vector<std::string> warnings;  // lines for the user: what is probably not meant
};

// How well a simple model, trained on the train part, predicts the held-out part: what a network has to beat.
struct Baseline {
    std::string name;
    double bits_per_token = 0;
    int64_t tokens = 0;  // scored targets: the same ones as the network's
};

struct Domain {
    const char* name;
    const char* token;   // what one token is, for messages: "base"
    int64_t vocabulary;  // ids are below this; models may pad it
    const TokenRules& (*rules)();

    // Options of `train` that this domain sets otherwise than the program: a JSON object, option -> value.
    nlohmann::json (*defaults)();
    // Errors: those of the files, of the tokenizer and of split_records.
    Dataset (*load)(const DataOptions& options);
    // Context models of these orders, learned from data.train, on data.valid.
    std::vector<Baseline> (*evaluate)(const Dataset& data, std::span<const int64_t> orders);
    // A prompt given as text, or the only record of the file of that name.
    std::vector<uint8_t> (*read_prompt)(const std::string& text_or_file);
    // The ids that generation may draw; `every_letter` adds the ones that are not scored (N).
    std::vector<uint16_t> (*alphabet)(bool every_letter);
    // One generated record in the domain's file format, appended to `out`.
    void (*append_sample)(std::string& out, std::string_view header, std::span<const uint16_t> ids);
};

std::span<const Domain* const> domains();
// Errors: an unknown name; lists the known ones.
const Domain& find_domain(std::string_view name);

}  // namespace adder
