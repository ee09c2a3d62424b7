#include "pipelines/audio/load.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "core/error.h"
#include "datasets/audio_inputs.h"
#include "pipelines/audio/codec.h"
#include "pipelines/audio/classes.h"
#include "pipelines/audio/signal_records.h"
#include "pipelines/held_out.h"
#include "pipelines/audio/split.h"
#include "pipelines/record_names.h"
#include "pipelines/store.h"

namespace adder::audio {

namespace {

constexpr size_t kShownFiles = 100, kShownKinds = 8;

// One list of inputs, as records and as what there is to say of them.
class Reading {
  public:
    Reading(const char* role, const std::vector<std::string>& inputs, const DataOptions& options,
            const HeldOutFiles& held_out)
        : role_(role),
          strict_(options.audio.strict),
          spool_bytes_(options.audio.spool ? options.audio.spool->count : AudioInput::kDefaultLimitBytes) {
        std::optional<FilePattern> pattern;
        if (!options.audio.pattern.empty()) pattern.emplace(options.audio.pattern);
        listing_ = audio_inputs(inputs, pattern ? &*pattern : nullptr);
        for (const std::string& line : listing_.report) report.push_back(fmt::format("{} {}", role_, line));
        for (const std::string& folder : listing_.unreadable) {
            if (strict_) fail("[input] {}; hint: check the permissions, or leave --strict out", folder);
            drop(folder);
        }
        leave_out(held_out);
        for (const AudioItem& item : listing_.items) look_at(item);
        if (inputs_.empty() && stores_.empty())
            fail("[audio] no file can be read: {} of {} failed, the first: {}", n_dropped_,
                 listing_.items.size(), dropped_.at(0));
    }

    // Takes from token stores what the options leave open; without --rate takes the rate of all files.
    void resolve(AudioOptions& o) const {
        for (const auto& [path, settings] : stores_) {
            OptionList list;
            o.add_symbols_to(list);
            nlohmann::json given = o.symbol_settings();
            for (auto it = given.begin(); it != given.end();)
                it = it->is_null() ? given.erase(it) : std::next(it);
            check_settings(path, settings, given, nlohmann::json::object());
            apply_json(list, settings, {}, path);
        }
        if (o.rate || rates_.empty()) return;
        if (rates_.size() > 1) {
            std::string rates;
            size_t shown = 0;
            for (const auto& [rate, files] : rates_)
                if (shown++ == kShownKinds)
                    rates += ", ...";
                else if (shown <= kShownKinds)
                    rates += fmt::format("{}{} Hz ({}, such as {})", rates.empty() ? "" : ", ", rate,
                                         counted(files.n, "file"), files.example);
            fail("[audio] the files differ in their sample rates: {}; hint: --rate HZ resamples them", rates);
        }
        o.rate = rates_.begin()->first;
    }

    // Appends to the records, files and facts.
    void read(const AudioOptions& o, Dataset& data, std::vector<RecordFacts>& facts, StoredParts& parts,
              SequenceNumbers& sequences) {
        const size_t first_record = data.records.size();
        for (size_t i = 0; i < listing_.items.size(); ++i) {
            const AudioItem& item = listing_.items[i];
            data.inputs.push_back(item.path);
            const size_t first = data.records.size();
            bool is_split = false;
            if (item.store)
                is_split = read_prepared(item, data, parts);
            else if (const auto input = inputs_.find(i); input != inputs_.end())
                read_file(item, input->second, o, data, sequences);
            for (size_t r = first; r < data.records.size(); ++r) {
                RecordFacts& f = facts.emplace_back(RecordFacts{item.split, item.fields});
                if (item.store)
                    f.fields = {{"label", data.records[r].label}, {"group", data.records[r].group}};
                const auto n = static_cast<int64_t>(data.records[r].symbols.size());
                // Beside a store that brings a split, what brings none is for training.
                if (!is_split) parts.split.train.push_back({static_cast<int64_t>(r), 0, n});
            }
        }
        settle_names(std::span(data.records).subspan(first_record), data.files);
        say_all(o, data, first_record);
    }

    // What may be trained on, of files that are read whole: of others a manifest may hold out another part.
    static std::vector<std::string> whole_files(const std::vector<std::string>& inputs) {
        std::vector<std::string> files;
        if (inputs.empty()) return files;
        for (const AudioItem& item : audio_inputs(inputs, nullptr).items)
            if (!item.start_s && !item.end_s) files.push_back(item.path);
        return files;
    }

    bool has_parts() const { return listing_.has_split; }
    int64_t n_folder_files() const { return listing_.n_folder_files; }
    std::vector<std::string> report, warnings;

  private:
    struct Files {
        int64_t n = 0;
        std::string example;
    };

    void leave_out(const HeldOutFiles& held_out) {
        const size_t n = std::erase_if(listing_.items, [&](const AudioItem& item) {
            return held_out.leaves_out(item.path, item.named || !item.place.empty());
        });
        if (n > 0) report.push_back(fmt::format("{} {} files held out by --valid, not read as inputs", role_, n));
        if (listing_.items.empty())
            fail("[split] every file of --input is held out by --valid; hint: hold out some of them");
    }

    void drop(const AudioItem& item, const Error& e) {
        if (item.named || strict_) throw e;
        drop(e.what());
    }

    void drop(const std::string& reason) {
        ++n_dropped_;
        if (dropped_.size() < kShownFiles) dropped_.push_back(reason);
    }

    // Headers first: rates have to be known before anything is resampled.
    void look_at(const AudioItem& item) {
        if (item.store) {
            stores_.emplace_back(item.path, store_info(item.path, "audio").settings);
            return;
        }
        try {
            AudioInput input(item.path, spool_bytes_);
            const AudioInfo info = AudioReader(input).info();
            Files& rate = rates_[info.rate_hz];
            if (rate.n++ == 0) rate.example = item.name;
            ++kinds_[fmt::format("{}, {} Hz, {} channel{}", info.format, info.rate_hz, info.channels,
                                 info.channels > 1 ? "s" : "")];
            inputs_.emplace(static_cast<size_t>(&item - listing_.items.data()), std::move(input));
        } catch (const Error& e) {
            drop(item, e);
        }
    }

    void read_file(const AudioItem& item, const AudioInput& input, const AudioOptions& o, Dataset& data,
                   SequenceNumbers& sequences) {
        const size_t first = data.records.size();
        try {
            append_records(item, input, o, data.records, counts_);
        } catch (const Error& e) {
            return drop(item, e);
        }
        int64_t sequence =
            sequences.first_of(item.path, std::ssize(data.records) - static_cast<int64_t>(first));
        for (size_t r = first; r < data.records.size(); ++r) {
            data.records[r].file = static_cast<int32_t>(data.files.size());
            data.records[r].origin.sequence = sequence++;
        }
        data.files.push_back(item.path);
    }

    // Whether the store brings a split.
    bool read_prepared(const AudioItem& item, Dataset& data, StoredParts& parts) {
        const size_t first = data.records.size(), first_held_out = parts.held_out.size();
        const auto first_file = static_cast<int32_t>(data.files.size());
        const StoreInfo info = read_store(item.path, "audio", data.records, parts);
        const auto take = [&](TokenRecord& r) {
            r.file += first_file;
            r.class_token = kNoToken;  // of the model that is trained, not of the store
        };
        for (size_t r = first; r < data.records.size(); ++r) take(data.records[r]);
        for (size_t r = first_held_out; r < parts.held_out.size(); ++r) take(parts.held_out[r]);
        data.files.insert(data.files.end(), info.sources.begin(), info.sources.end());
        report.push_back(
            fmt::format("{} {}: {}, prepared", role_, item.path,
                        counted(std::ssize(data.records) - static_cast<int64_t>(first), "record")));
        for (const std::string& line : info.report) report.push_back("  prepared from " + line);
        return info.is_split;
    }

    void say_all(const AudioOptions& o, const Dataset& data, size_t first_record) {
        size_t shown = 0;
        for (const auto& [kind, n] : kinds_)
            if (shown++ < kShownKinds)
                report.push_back(fmt::format("{} {}: {}", role_, counted(n, "file"), kind));
        if (kinds_.size() > kShownKinds)
            report.push_back(fmt::format("{} and {} more kinds", role_, kinds_.size() - kShownKinds));
        for (const std::string& reason : dropped_) warnings.push_back("left out: " + reason);
        if (n_dropped_ > static_cast<int64_t>(dropped_.size()))
            warnings.push_back(
                fmt::format("left out: {} more files", n_dropped_ - static_cast<int64_t>(dropped_.size())));
        if (data.records.size() == first_record)
            fail("[audio] no file can be read: {} of {} failed, the first: {}", n_dropped_,
                 listing_.items.size(), dropped_.at(0));
        int64_t n_symbols = 0;
        for (size_t r = first_record; r < data.records.size(); ++r)
            n_symbols += static_cast<int64_t>(data.records[r].symbols.size());
        const int64_t n = n_symbols / symbols_per_sample(codec_of(o.codec));
        std::string text =
            fmt::format("{} in all: {} kept, {} left out; {}, {} ({:.1f} s at {} Hz)", role_,
                        counted(counts_.files, "file"), n_dropped_,
                        counted(std::ssize(data.records) - static_cast<int64_t>(first_record), "record"),
                        counted(n, "sample"), static_cast<double>(n) / static_cast<double>(*o.rate), *o.rate);
        const auto add = [&](int64_t count, const std::string& what) {
            if (count > 0) text += "; " + what;
        };
        add(counts_.resampled, counted(counts_.resampled, "file") + " resampled");
        add(counts_.trimmed, fmt::format("{:.1f} s of silence trimmed", static_cast<double>(counts_.trimmed) /
                                                                            static_cast<double>(*o.rate)));
        add(counts_.clipped, counted(counts_.clipped, "sample") + " beyond full scale clipped in " +
                                 counted(counts_.clipped_records, "record"));
        add(counts_.silent, counted(counts_.silent, "record") + " of silence");
        report.push_back(fmt::format("{}; channels {}, level {}, scale {}, codec {}", text, o.channels,
                                     o.level, *o.scale, o.codec));
    }

    const char* role_;
    bool strict_;
    int64_t spool_bytes_;
    AudioListing listing_;
    std::map<size_t, AudioInput> inputs_;                         // of the items that are audio
    std::vector<std::pair<std::string, nlohmann::json>> stores_;  // path, settings
    std::map<int64_t, Files> rates_;
    std::map<std::string, int64_t> kinds_;
    std::vector<std::string> dropped_;
    int64_t n_dropped_ = 0;
    SignalCounts counts_;
};

void report_parts(const Split& split, int64_t width, Dataset& data) {
    const auto part = [&](const std::vector<Segment>& segments) {
        return counted(n_symbols(segments) / width, "sample") + " in " +
               counted(std::ssize(segments), "record");
    };
    if (!data.valid.empty() || !data.test.empty())
        data.report.push_back(fmt::format("train {}, held out {}, test {}, in no part {}", part(data.train),
                                          part(data.valid), part(data.test), split.n_unused / width));
    int64_t n_short = 0;
    for (const Segment& s : data.train)
        n_short += n_positions(*data.tokenizer, member_of(data.records, s)) == 0;
    if (n_short > 0)
        data.warnings.push_back(counted(n_short, "record") + " of a single sample: nothing to predict there");
}

}  // namespace

Dataset load(const DataOptions& given) {
    DataOptions options = given;
    Dataset data;
    StoredParts parts;
    std::vector<RecordFacts> facts;
    Reading inputs("input", options.input, options, HeldOutFiles(Reading::whole_files(options.valid)));
    inputs.resolve(options.audio);
    std::optional<Reading> held_out;
    if (!options.valid.empty()) held_out.emplace("held-out input", options.valid, options, HeldOutFiles({}));
    if (held_out) held_out->resolve(options.audio);
    options.audio = options.audio.resolved();
    data.resolved = options.audio.symbol_settings();

    SequenceNumbers sequences;
    inputs.read(options.audio, data, facts, parts, sequences);
    std::vector<TokenRecord> held_out_records = std::move(parts.held_out);
    if (held_out) {
        if (!held_out_records.empty() || parts.is_split)
            fail("[split] {}: was prepared with held-out parts; hint: leave --valid out", parts.split_by);
        StoredParts none;
        std::vector<RecordFacts> ignored;
        Dataset other;
        other.files = std::move(data.files);
        held_out->read(options.audio, other, ignored, none, sequences);
        if (!none.split_by.empty() || held_out->has_parts())
            fail(
                "[split] --valid {}: holds parts of its own, so that it cannot be held out; hint: prepare it "
                "without a split",
                options.valid[0]);
        data.files = std::move(other.files);
        data.inputs.insert(data.inputs.end(), other.inputs.begin(), other.inputs.end());
        held_out_records = std::move(other.records);
    }
    for (const Reading* r : {&inputs, held_out ? &*held_out : nullptr}) {
        if (!r) continue;
        data.report.insert(data.report.end(), r->report.begin(), r->report.end());
        data.warnings.insert(data.warnings.end(), r->warnings.begin(), r->warnings.end());
    }
    give_classes(options, data, held_out_records);
    data.digest = digest_of(data.records);

    if (!parts.split_by.empty() && (options.splits() || inputs.has_parts()))
        fail(
            "[split] {}: was prepared with held-out parts; hint: give no other split, or prepare it without "
            "one",
            parts.split_by);
    const DataOptions& how = options.split_of(data.digest);
    Split split;
    if (parts.is_split) {
        split = std::move(parts.split);
    } else {
        split = split_audio(data.records, data.files, facts, inputs.has_parts(), how);
    }
    if (how.splits() || inputs.has_parts() || parts.is_split)
        data.split_digest = digest_of(split, data.records);
    if (!held_out_records.empty()) add_held_out(std::move(held_out_records), split, data);
    for (std::string& warning : warnings_of_split(data.records, split))
        data.warnings.push_back(std::move(warning));
    data.train = std::move(split.train);
    data.valid = std::move(split.valid);
    data.test = std::move(split.test);
    check_parts(data, "seconds");
    if (std::string shared = shared_records(data); !shared.empty()) data.warnings.push_back(std::move(shared));
    if (options.classes.empty()) check_classes(data);
    report_parts(split, data.tokenizer->tokens_per_sample(), data);
    return data;
}

}  // namespace adder::audio
