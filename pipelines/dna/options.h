// Options of the DNA domain.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/options.h"

namespace adder::dna {

struct DnaOptions {
    // Of a model: what its tokens are and how much they count.
    std::string tokenizer = "char";
    int64_t kmer = 6;
    double mask_weight = 1;
    double rc_augment = 0.5;  // in training only
    // Of reading an input.
    int64_t min_length = 1;
    double min_quality = 0, min_base_quality = 0;
    std::string reference = {};

    void add_model_to(OptionList& list);
    void add_reading_to(OptionList& list);
    // What of reading decides the symbols: option -> value.
    nlohmann::json symbol_settings() const;
};

}  // namespace adder::dna
