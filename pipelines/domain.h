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
    std::vector<std::string> files;    // what was read, in order; of a token store its sources
    std::vector<std::string> inputs;   // every file that the options stand for, kept or dropped: none may be written over
    std::vector<std::string> unread;   // names of records that were not asked for: for messages
    std::string digest, valid_digest;  // of the inputs' records, and of the held-out inputs' ("" without)
    std::string split_digest;          // of which part every symbol belongs to ("" where nothing is split)
    // Options that the inputs decided, as `audio`'s sample rate: a JSON object, option -> value, for a run to record.
    nlohmann::json resolved = nlohmann::json::object();
    std::vector<std::string> report;   // lines for the user: counts of what was read, kept and dropped
    std::vector<std::string> warnings;  // lines for the user: what is probably not meant
};

// Tokens of one record to samples of a signal, as they come; memory does not grow.
class SampleDecoder {
  public:
    virtual ~SampleDecoder() = default;
    // Appends the samples that are complete; full scale is 1. Errors: an id that stands for no sample in its place.
    virtual void decode(std::span<const uint16_t> ids, std::vector<float>& samples) = 0;
};

// Of a domain whose records are sampled signals.
struct SignalDomain {
    // Hz. Errors: the options have none.
    int64_t (*rate)(const DataOptions& options);
    // The tokens of one sample of silence.
    std::vector<uint16_t> (*silence)(const DataOptions& options);
    std::unique_ptr<SampleDecoder> (*make_decoder)(const DataOptions& options);
};

// How well a simple model, trained on the train part, predicts a held-out part: what a network has to beat.
struct Baseline {
    std::string name;
    double bits_per_token = 0;
    double tokens = 0;  // scored targets, each as often as it counts: the same ones as the network's
};

struct Domain {
    const char* name;

    // Options of `train` that this domain sets otherwise than the program: a JSON object, option -> value.
    nlohmann::json (*defaults)();
    // What the options say, and the classes in them where the model has classes.
    std::unique_ptr<const Tokenizer> (*make_tokenizer)(const DataOptions& options);
    // Reads and splits the inputs. Errors: those of the files, of the symbols and of the split.
    Dataset (*load)(const DataOptions& options);
    // Context models of these orders on these segments: learned from the train part, where tokens count as with the tokenizer
    // of the network, and scored where they count as with that of the data.
    std::vector<Baseline> (*evaluate)(const Dataset& data, std::span<const Segment> on, std::span<const int64_t> orders,
                                      const Tokenizer& of_model);
    // The tokens of a prompt given as text, or of the only record of the file of that name.
    std::vector<uint16_t> (*read_prompt)(const std::string& text_or_file, const DataOptions& options);
    // The ids that generation may draw as token `phase` of a sample (0 where a sample is one token, and without samples);
    // `every_letter` adds the ones that are not scored (N).
    std::vector<uint16_t> (*alphabet)(const DataOptions& options, bool every_letter, int64_t phase);
    // One generated record in the domain's file format, appended to `out`; null where records are signals.
    void (*append_sample)(std::string& out, std::string_view header, std::span<const uint16_t> ids,
                          const DataOptions& options);
    const SignalDomain* signal;  // null where records are no signals
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
