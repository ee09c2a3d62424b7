#include "pipelines/audio/audio.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "datasets/audio.h"
#include "pipelines/audio/codec.h"
#include "pipelines/audio/context_model.h"
#include "pipelines/audio/load.h"
#include "pipelines/audio/signal_records.h"

namespace adder::audio {

namespace {

nlohmann::json defaults() {
    return {{"length", 8192}, {"batch", 4}};
}

std::unique_ptr<const Tokenizer> tokenizer_of(const DataOptions& options) {
    const AudioOptions o = options.audio.resolved();
    return make_tokenizer(codec_of(o.codec),
                          o.class_conditional ? static_cast<int64_t>(options.classes.size()) : 0);
}

std::vector<Baseline> evaluate(const Dataset& data, std::span<const Segment> on,
                               std::span<const int64_t> orders, const Tokenizer&) {
    std::vector<Baseline> rows;
    for (const int64_t order : orders) {
        ContextModel model(order, data.tokenizer->tokens_per_sample());
        for (const Segment& s : data.train) model.train(member_of(data.records, s).symbols);
        double bits = 0;
        int64_t n = 0;
        for (const Segment& s : on) {
            const Member member = member_of(data.records, s);
            n += model.score(member.symbols, member.class_token == kNoToken ? 1 : 0, bits);
        }
        rows.push_back({fmt::format("order_{}", order), n > 0 ? bits / static_cast<double>(n) : 0, static_cast<double>(n)});
    }
    return rows;
}

std::vector<uint16_t> read_prompt(const std::string& file, const DataOptions& options) {
    AudioOptions o = options.audio.resolved();
    if (!o.rate) fail("[audio] prompt {}: the checkpoint has no sample rate", file);
    o.trim = 0;  // a record begins with the first sample of its prompt
    const AudioInput input(file, o.spool ? o.spool->count : AudioInput::kDefaultLimitBytes);
    std::vector<TokenRecord> records;
    SignalCounts counts;
    append_records({.path = file, .name = file}, input, o, records, counts);
    if (records.size() > 1)
        fail(
            "[audio] prompt {}: {} channels, of which the model has each as a record; hint: give a file with "
            "one",
            file, records.size());
    const auto tokenizer = tokenizer_of(options);
    std::vector<uint16_t> ids(records[0].symbols.size());
    std::vector<float> ignored(ids.size());
    tokenizer->write(records[0].symbols, 0, static_cast<int64_t>(ids.size()), false, ids.data(),
                     ignored.data());
    return ids;
}

std::vector<uint16_t> alphabet(const DataOptions& options, bool, int64_t phase) {
    const Codec codec = codec_of(options.audio.resolved().codec);
    std::vector<uint16_t> ids;
    for (int64_t id = 0; id < n_sample_tokens(codec); ++id)
        if (may_stand(codec, static_cast<uint16_t>(id), phase)) ids.push_back(static_cast<uint16_t>(id));
    return ids;
}

int64_t rate(const DataOptions& options) {
    if (!options.audio.rate) fail("[audio] the checkpoint has no sample rate");
    return *options.audio.rate;
}

std::vector<uint16_t> silence(const DataOptions& options) {
    return tokens_of_silence(codec_of(options.audio.resolved().codec));
}

std::unique_ptr<SampleDecoder> make_decoder(const DataOptions& options) {
    return std::make_unique<StreamDecoder>(codec_of(options.audio.resolved().codec));
}

constexpr SignalDomain kSignal{rate, silence, make_decoder};

double reverse(const DataOptions&) {
    return 0;
}

nlohmann::json symbol_settings(const DataOptions& options) {
    return options.audio.resolved().symbol_settings();
}

}  // namespace

constinit const Domain kDomain{
    .name = "audio",
    .defaults = defaults,
    .make_tokenizer = tokenizer_of,
    .load = load,
    .evaluate = evaluate,
    .read_prompt = read_prompt,
    .alphabet = alphabet,
    .append_sample = nullptr,
    .signal = &kSignal,
    .reverse = reverse,
    .symbol_settings = symbol_settings,
    .packed = nullptr,
};

}  // namespace adder::audio
