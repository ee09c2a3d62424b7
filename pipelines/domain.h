// The seam between a domain (DNA, audio) and everything else: a domain is one folder beside this file, one line in
// registry.cc, and its options in DataOptions.
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/data_options.h"
#include "pipelines/packing.h"
#include "pipelines/records.h"
#include "pipelines/split.h"
#include "pipelines/tokenizer.h"

namespace adder {

// What a domain makes of its inputs. Segments index `records`.
struct Dataset {
    std::vector<TokenRecord> records;         // of the inputs, then of the held-out inputs
    int64_t n_held_out = 0;                   // records of held-out inputs
    std::vector<Segment> train, valid, test;  // the last two are empty unless something is held out
    std::unique_ptr<const Tokenizer> tokenizer;
    std::vector<std::string> classes;  // names in the order of their tokens; empty without classes
    std::vector<std::string> files;    // what was read, in order
    std::string digest, valid_digest;  // of the inputs' records, and of the held-out inputs' ("" without)
    std::string split_digest;          // of which part every symbol belongs to ("" where nothing is split)
    // Options that the inputs decided, as `audio`'s sample rate: a JSON object, option -> value, for a run to record.
    nlohmann::json resolved = nlohmann::json::object();
    std::vector<std::string> report;   // lines for the user: counts of what was read, kept and dropped
    std::vector<std::string> warnings;  // lines for the user: what is probably not meant
};

// Takes the tokens of one generated record as they are drawn and writes them in the domain's format; memory does not grow.
class SampleStream {
  public:
    virtual ~SampleStream() = default;
    virtual void add(std::span<const uint16_t> ids) = 0;
    // Completes the file. Once, and last.
    virtual void finish() = 0;
};

// How well a simple model, trained on the train part, predicts a held-out part: what a network has to beat.
struct Baseline {
    std::string name;
    double bits_per_token = 0;
    int64_t tokens = 0;  // scored targets: the same ones as the network's
};

struct Domain {
    const char* name;

    // Options of `train` that this domain sets otherwise than the program: a JSON object, option -> value.
    nlohmann::json (*defaults)();
    // What the options say, and the classes in them where the model has classes.
    std::unique_ptr<const Tokenizer> (*make_tokenizer)(const DataOptions& options);
    // Reads and splits the inputs. Errors: those of the files, of the symbols and of the split.
    Dataset (*load)(const DataOptions& options);
    // Context models of these orders, learned from the train part, on these segments.
    std::vector<Baseline> (*evaluate)(const Dataset& data, std::span<const Segment> on, std::span<const int64_t> orders);
    // The tokens of a prompt given as text, or of the only record of the file of that name.
    std::vector<uint16_t> (*read_prompt)(const std::string& text_or_file, const DataOptions& options);
    // The ids that generation may draw; `every_letter` adds the ones that are not scored (N).
    std::vector<uint16_t> (*alphabet)(const DataOptions& options, bool every_letter);
    // One generated record in the domain's file format, appended to `out`; null where records are files of their own.
    void (*append_sample)(std::string& out, std::string_view header, std::span<const uint16_t> ids,
                          const DataOptions& options);
    // A record as a file of its own, whose type its name says; null where records are appended to one file. `to` is where the
    // bytes go meanwhile (AtomicFile::temporary).
    std::unique_ptr<SampleStream> (*open_sample)(const std::string& name, const std::string& to, const DataOptions& options);
    // Probability that training turns a member to the other strand.
    double (*reverse)(const DataOptions& options);
    // What of the options decided the symbols of a record, as a token store remembers it: option -> value.
    nlohmann::json (*symbol_settings)(const DataOptions& options);
    // How a token store packs the symbols; null = a byte each.
    const PackedAlphabet* packed;
};

std::span<const Domain* const> domains();
// Errors: an unknown name; lists the known ones.
const Domain& find_domain(std::string_view name);

}  // namespace adder
