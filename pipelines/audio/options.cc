#include "pipelines/audio/options.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "datasets/audio.h"
#include "datasets/file_pattern.h"

namespace adder::audio {

void AudioOptions::add_symbols_to(OptionList& list) {
    list.add({.name = "rate",
              .value = &rate,
              .unit = "HZ",
              .help = "samples a second of the model; others are resampled",
              .range = between(kLowestRateHz, kHighestRateHz),
              .derived = "that of all inputs"});
    list.add({.name = "channels",
              .value = &channels,
              .unit = "first|mix|each",
              .help = "of files with several: the first, their mean, or a record each",
              .derived = "mix"});
    list.add({.name = "level",
              .value = &level,
              .unit = "none|peak|rms|clip-minmax",
              .help = "of each record: as it is, peak at full scale, RMS at a tenth of it, or smallest and "
                      "largest sample at "
                      "-1 and 1",
              .derived = "none"});
    list.add({.name = "scale",
              .value = &scale,
              .unit = "X",
              .help = "factor on every sample, after --level",
              .range = above(0),
              .derived = "1"});
    list.add({.name = "trim",
              .value = &trim,
              .unit = "DB",
              .help = "cut from both ends of a record what is this much below its loudest 10 ms; 0 for none",
              .range = between(0, 200),
              .derived = "0"});
    list.add({.name = "codec",
              .value = &codec,
              .unit = "mulaw|linear8|pcm16",
              .help = "tokens: mu-law or linear in 256 steps, or 16 bits as a coarse and a fine byte",
              .derived = "mulaw"});
}

void AudioOptions::add_model_to(OptionList& list) {
    add_symbols_to(list);
    list.add(
        {.name = "class-conditional",
         .value = &class_conditional,
         .help =
             "a token of its label before every record: of a manifest, --pattern, or the folder it is in"});
}

void AudioOptions::add_reading_to(OptionList& list) {
    list.add(
        {.name = "pattern",
         .value = &pattern,
         .unit = "TEXT",
         .help =
             "what names of audio files say, such as '{label}_{group}_{take}'; with '/' for folders too"});
    list.add({.name = "valid-where",
              .value = &valid_where,
              .unit = "FIELD=V,V",
              .help = "hold out the files where a field of --pattern, label or group is one of these, such "
                      "as take=0-4"});
    list.add({.name = "test-where",
              .value = &test_where,
              .unit = "FIELD=V,V",
              .help = "keep the files where a field is one of these for testing"});
    list.add({.name = "strict",
              .value = &strict,
              .help = "stop at the first audio file that cannot be read; else those found in folders or a "
                      "manifest are left "
                      "out and listed"});
    list.add({.name = "spool",
              .value = &spool,
              .unit = "BYTES",
              .help = "what standard input may hold of audio; kept in $TMPDIR",
              .derived = "2 GB"});
}

void AudioOptions::check() const {
    std::optional<FilePattern> names;
    if (!pattern.empty()) names.emplace(pattern);
    for (const auto& [option, text] :
         {std::pair{"valid-where", valid_where}, std::pair{"test-where", test_where}}) {
        if (text.empty()) continue;
        const FieldChoice choice(option, text);
        const std::string& field = choice.field();
        if (field != "label" && field != "group" && !(names && names->has(field)))
            throw UsageError(
                fmt::format("--{}: there is no field '{}'; hint: --pattern names fields, label and group are "
                            "always there",
                            option, field));
    }
}

AudioOptions AudioOptions::resolved() const {
    AudioOptions o = *this;
    if (o.channels.empty()) o.channels = "mix";
    if (o.level.empty()) o.level = "none";
    if (o.codec.empty()) o.codec = "mulaw";
    if (!o.scale) o.scale = 1;
    if (!o.trim) o.trim = 0;
    return o;
}

nlohmann::json AudioOptions::symbol_settings() const {
    AudioOptions copy = *this;
    OptionList list;
    copy.add_symbols_to(list);
    return to_json(list);
}

}  // namespace adder::audio
