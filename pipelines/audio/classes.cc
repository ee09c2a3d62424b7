#include "pipelines/audio/classes.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"
#include "datasets/labels.h"
#include "pipelines/audio/codec.h"

namespace adder::audio {

namespace {

constexpr int64_t kMostClasses = 50'000;  // ids are 16 bits wide, and kNoToken is one of them
constexpr size_t kShown = 5;

// Names of some records, and how many there are in all.
struct Examples {
    int64_t n = 0;
    std::string names;
    void add(const std::string& name) {
        if (static_cast<size_t>(n++) < kShown) names += (names.empty() ? "" : ", ") + name;
    }
    std::string text() const {
        return fmt::format("{} ({}{})", n, names, n > static_cast<int64_t>(kShown) ? ", ..." : "");
    }
};

// Labels of `records` as tokens; counts those that have none.
void mark(std::span<TokenRecord> records, const std::vector<std::string>& classes, int64_t first_id,
          Examples& without, Examples& unknown) {
    for (TokenRecord& r : records) {
        const auto it = std::lower_bound(classes.begin(), classes.end(), r.label);
        if (r.label.empty())
            without.add(r.name);
        else if (it == classes.end() || *it != r.label)
            unknown.add(fmt::format("{}: {}", r.name, r.label));
        else
            r.class_token = static_cast<uint16_t>(first_id + (it - classes.begin()));
    }
}

[[noreturn]] void fail_untrained(const Examples& records) {
    fail(
        "[audio] --class-conditional: held-out records with labels that are not trained on: {}; hint: leave "
        "them out, or hold out others",
        records.text());
}

}  // namespace

void give_classes(const DataOptions& options, Dataset& data, std::vector<TokenRecord>& held_out) {
    const Codec codec = codec_of(options.audio.codec);
    const bool has_checkpoint = !options.classes.empty();
    if (options.audio.class_conditional) {
        std::vector<std::string> labels;
        for (const TokenRecord& r : data.records)
            if (!r.label.empty()) labels.push_back(r.label);
        data.classes = has_checkpoint ? options.classes : classes_of(labels);
        if (static_cast<int64_t>(data.classes.size()) > kMostClasses)
            fail("[audio] --class-conditional: {} different labels, at most {} can be classes",
                 data.classes.size(), kMostClasses);
        Examples without, unknown;
        mark(data.records, data.classes, n_sample_tokens(codec), without, unknown);
        mark(held_out, data.classes, n_sample_tokens(codec), without, unknown);
        if (has_checkpoint) {
            for (const auto& [examples, what] : {std::pair{&without, "without a label"},
                                                 {&unknown, "with a label that the model does not know"}})
                if (examples->n > 0 && options.needs_classes)
                    data.warnings.push_back(
                        fmt::format("no class stands before records {}: {}", what, examples->text()));
        } else if (without.n > 0) {
            fail(
                "[audio] --class-conditional, given or of the model of --init: records without a label: {}; "
                "hint: labels are a manifest's column 'label', a field {{label}} of --pattern, or the folder "
                "that a file is in",
                without.text());
        } else if (unknown.n > 0) {
            fail_untrained(unknown);
        }
    }
    data.tokenizer = make_tokenizer(codec, static_cast<int64_t>(data.classes.size()));
}

void check_classes(const Dataset& data) {
    const auto record_of = [&](const Segment& s) -> const TokenRecord& {
        return data.records[static_cast<size_t>(s.record)];
    };
    std::set<uint16_t> trained{kNoToken};
    for (const Segment& s : data.train) trained.insert(record_of(s).class_token);
    Examples untrained;
    for (const auto* part : {&data.valid, &data.test})
        for (const Segment& s : *part)
            if (const TokenRecord& r = record_of(s); !trained.count(r.class_token))
                untrained.add(fmt::format("{}: {}", r.name, r.label));
    if (untrained.n > 0) fail_untrained(untrained);
}

}  // namespace adder::audio
