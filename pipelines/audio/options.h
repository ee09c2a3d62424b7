// Options of the audio domain.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "core/options.h"

namespace adder::audio {

struct AudioOptions {
    // What decides the symbols of a record. Not given: from what `adder prepare` wrote, else the default of
    // help, which `resolved` fills in and a run records.
    std::optional<int64_t> rate;  // Hz; without one that of all inputs
    std::string channels, level, codec;
    std::optional<double> scale, trim;
    // Of a model.
    bool class_conditional = false;
    // Of reading an input.
    std::string pattern, valid_where, test_where;
    bool strict = false;
    std::optional<Bytes> spool;

    void add_symbols_to(OptionList& list);
    void add_model_to(OptionList& list);  // symbols too
    void add_reading_to(OptionList& list);
    // Throws UsageError for a malformed pattern or choice, and a choice of a field that does not exist.
    void check() const;
    bool splits() const { return !valid_where.empty() || !test_where.empty(); }

    // With defaults in place of what is not given, but for the rate.
    AudioOptions resolved() const;
    // Option -> value of add_symbols_to.
    nlohmann::json symbol_settings() const;
};

}  // namespace adder::audio
