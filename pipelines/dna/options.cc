#include "pipelines/dna/options.h"

#include <nlohmann/json.hpp>

#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

void DnaOptions::add_model_to(OptionList& list) {
    list.add({.name = "tokenizer", .value = &tokenizer, .unit = "char|kmer",
              .help = "a token a base, or a token for every K bases that follow each other"});
    list.add({.name = "kmer", .value = &kmer, .unit = "K", .help = "bases a token, with --tokenizer kmer",
              .range = between(1, kLongestKmer), .scopes = {{"tokenizer", {"kmer"}}}});
    list.add({.name = "mask-weight", .value = &mask_weight, .unit = "W",
              .help = "how much a lower-case (soft-masked) base counts in the loss", .range = between(0, 1)});
    list.add({.name = "rc-augment", .value = &rc_augment, .unit = "P",
              .help = "probability that training reads a sequence on the other strand", .range = between(0, 1)});
}

void DnaOptions::add_reading_to(OptionList& list) {
    list.add({.name = "min-length", .value = &min_length, .unit = "BP", .help = "leave out shorter records",
              .range = at_least(1)});
    list.add({.name = "min-quality", .value = &min_quality, .unit = "Q",
              .help = "leave out reads of lower mean quality: that of the mean error probability of their bases, which is at "
                      "most the mean of their qualities",
              .range = between(0, 93)});
    list.add({.name = "min-base-quality", .value = &min_base_quality, .unit = "Q",
              .help = "read bases of lower quality as N", .range = between(0, 93)});
    list.add({.name = "reference", .value = &reference, .unit = "FASTA", .help = "what a CRAM file was written against",
              .is_path = true});
}

nlohmann::json DnaOptions::symbol_settings() const {
    DnaOptions copy = *this;
    OptionList list;
    copy.add_reading_to(list);
    nlohmann::json settings;
    for (const Option& o : list.all())
        if (!o.is_path) settings[o.name] = to_json(o);
    return settings;
}

}  // namespace adder::dna
