#include "apps/generate_audio.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/clip_output.h"
#include "apps/listening.h"
#include "apps/scoring.h"
#include "apps/signals.h"
#include "core/error.h"
#include "core/interrupted.h"

namespace adder {

namespace {

constexpr int64_t kMostAtOnce = 512;  // records of a batch are files that are open

// What the records begin with, and how long they are.
struct Request {
    std::vector<std::vector<uint16_t>> openings;  // of every class, the class token included
    int64_t num = 0;                              // records of every class
    int64_t offset = 0;                           // tokens before those of the first sample
    int64_t tokens_per_sample = 1, rate_hz = 0, n_samples = 0, prompt_samples = 0;
    const std::atomic<bool>* stop = nullptr;

    int64_t n_records() const { return num * std::ssize(openings); }
    int64_t n_tokens() const { return offset + n_samples * tokens_per_sample; }
    std::span<const uint16_t> opening_of(int64_t record) const {
        return openings[static_cast<size_t>(record / num)];
    }
    double seconds(int64_t samples) const {
        return static_cast<double>(samples) / static_cast<double>(rate_hz);
    }
};

uint16_t class_token(const std::string& name, const LoadedModel& loaded) {
    const std::vector<std::string>& classes = loaded.data.classes;
    if (classes.empty())
        fail("--class {}: the model has no classes; hint: train with --class-conditional", name);
    const auto it = std::find(classes.begin(), classes.end(), name);
    if (it == classes.end())
        fail("--class {}: the model has no such class; the nearest is {}; hint: its classes are {}", name,
             nearest_name(name, classes), fmt::join(classes, ", "));
    // Classes are the last of the vocabulary.
    return static_cast<uint16_t>(loaded.tokenizer->vocabulary() - (classes.end() - it));
}

int64_t sample_count(const cli::GenerateOptions& o, const Request& r) {
    if (o.seconds) {
        const double n = std::round(*o.seconds * static_cast<double>(r.rate_hz));
        if (!(n >= 1 && n <= kMostPositions))
            fail("--seconds {}: that are {:.0f} samples at {} Hz", *o.seconds, n, r.rate_hz);
        return static_cast<int64_t>(n);
    }
    if (*o.tokens % r.tokens_per_sample != 0)
        fail("--tokens {}: a sample of this model is {} tokens; hint: --tokens {}, or --seconds", *o.tokens,
             r.tokens_per_sample, *o.tokens + r.tokens_per_sample - *o.tokens % r.tokens_per_sample);
    return *o.tokens / r.tokens_per_sample;
}

Request make_request(const cli::GenerateOptions& o, const LoadedModel& loaded) {
    Request r;
    r.num = o.num;
    r.offset = o.classes.empty() ? 0 : 1;
    r.rate_hz = loaded.domain.signal->rate(loaded.data);
    r.tokens_per_sample = loaded.tokenizer->tokens_per_sample();
    r.n_samples = sample_count(o, r);
    std::vector<uint16_t> begin;
    if (o.prompt.empty()) {
        begin = loaded.domain.signal->silence(loaded.data);
    } else {
        begin = loaded.domain.read_prompt(o.prompt, loaded.data);
        r.prompt_samples = std::ssize(begin) / r.tokens_per_sample;
    }
    if (r.prompt_samples > r.n_samples)
        fail(
            "--prompt {}: {} samples ({:.3f} s at {} Hz), the whole record only {} ({:.3f} s); hint: "
            "--seconds counts the prompt too",
            o.prompt, r.prompt_samples, r.seconds(r.prompt_samples), r.rate_hz, r.n_samples,
            r.seconds(r.n_samples));
    for (const std::string& name : o.classes) {
        r.openings.push_back({class_token(name, loaded)});
        r.openings.back().insert(r.openings.back().end(), begin.begin(), begin.end());
    }
    if (o.classes.empty()) r.openings.push_back(begin);
    if (static_cast<double>(r.n_records()) * static_cast<double>(r.n_samples) > 0x1p62)
        throw UsageError(fmt::format("{} records of {} samples are more than can be counted; hint: a smaller --num",
                                     r.n_records(), r.n_samples));
    return r;
}

// Tokens of records that are being made, to samples.
class Clips {
  public:
    Clips(const Request& request, const LoadedModel& loaded, ClipOutput& output)
        : request_(request), loaded_(loaded), output_(output) {}

    void add(int64_t record, int64_t first, std::span<const uint16_t> tokens) {
        if (first < request_.offset) tokens = tokens.subspan(static_cast<size_t>(request_.offset - first));
        auto& decoder = decoders_[record];
        if (!decoder) decoder = loaded_.domain.signal->make_decoder(loaded_.data);
        // A prompt may be long.
        constexpr size_t kBlock = 1 << 16;
        for (size_t i = 0; i < tokens.size(); i += kBlock) {
            samples_.clear();
            const std::span<const uint16_t> block = tokens.subspan(i, std::min(kBlock, tokens.size() - i));
            decoder->decode(block, samples_);
            output_.write(record, samples_);
            done_ += std::ssize(block);
            if ((n_[record] += std::ssize(block)) < request_.n_samples * request_.tokens_per_sample) continue;
            decoders_.erase(record);
            n_.erase(record);
        }
    }
    int64_t done() const { return done_; }  // tokens

  private:
    const Request& request_;
    const LoadedModel& loaded_;
    ClipOutput& output_;
    std::map<int64_t, std::unique_ptr<SampleDecoder>> decoders_;
    std::map<int64_t, int64_t> n_;  // tokens of the records that are being made
    std::vector<float> samples_;
    int64_t done_ = 0;
};

double seconds_since(std::chrono::steady_clock::time_point t) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

// Throws Interrupted when the request's flag is set.
void make_clips(App& app, const cli::GenerateOptions& o, const Request& request, LoadedModel& loaded,
                const Compute& compute, ClipOutput& output) {
    GenerateOptions g;
    g.n_tokens = request.n_tokens();
    g.n_records = request.n_records();
    g.seed = static_cast<uint64_t>(o.seed);
    // A stream plays its records one after another.
    g.batch = output.streams() ? 1 : std::min({request.n_records(), o.batch.value_or(16), kMostAtOnce});
    g.tile = std::min(o.tile.value_or(score_tile(compute.device, loaded.model.config())),
                      std::max<int64_t>(1, std::ssize(request.openings[0])));
    g.sampler = sampler_options(o, loaded, request.offset);

    const auto begin = std::chrono::steady_clock::now();
    Clips clips(request, loaded, output);
    const int64_t all = request.n_records() * request.n_samples;
    const auto prompt_of = [&](int64_t k) { return request.opening_of(k); };
    const auto sink = [&](int64_t k, int64_t first, std::span<const uint16_t> tokens) {
        clips.add(k, first, tokens);
        app.console.work(clips.done() / request.tokens_per_sample, all, "sample", seconds_since(begin));
    };
    generate_pieces(loaded.model, compute, g, prompt_of, sink, request.stop);
    app.console.finish_line();
    const double s = seconds_since(begin);
    const int64_t samples = request.n_records() * (request.n_samples - request.prompt_samples);
    app.console.line(fmt::format(
        "{} record{} of {:.3f} s at {} Hz in {:.2f} s: {:.0f} samples/s, {:.2f} of real time",
        request.n_records(), request.n_records() == 1 ? "" : "s", request.seconds(request.n_samples),
        request.rate_hz, s, static_cast<double>(samples) / s, request.seconds(samples) / s));
}

ListeningPage page_of(const cli::GenerateOptions& o, const Request& r, const LoadedModel& loaded) {
    const ModelConfig& c = loaded.model.config();
    ListeningPage page;
    page.title = fmt::format("{} generated clips of {:.3f} s", r.n_records(), r.seconds(r.n_samples));
    const auto say = [&](const char* name, std::string value) {
        page.settings.emplace_back(name, std::move(value));
    };
    say("checkpoint", loaded.checkpoint);
    say("model", fmt::format("{} {}, d_model {}, {} parameters", c.backbone, c.mixer, c.d_model,
                             loaded.params.count()));
    const nlohmann::json symbols = loaded.domain.symbol_settings(loaded.data);
    for (const auto& [name, value] : symbols.items())
        say(name.c_str(), value.is_string() ? value.get<std::string>() : value.dump());
    say("seed", fmt::format("{}", o.seed));
    say("temperature", fmt::format("{}", o.temperature));
    say("top-k", o.top_k ? fmt::format("{}", *o.top_k) : "all");
    say("top-p", o.top_p ? fmt::format("{}", *o.top_p) : "all");
    say("prompt", o.prompt.empty() ? "none: a record begins with a sample of silence"
                                   : fmt::format("{}, the first {:.3f} s of every record", o.prompt,
                                                 r.seconds(r.prompt_samples)));
    page.rate_hz = r.rate_hz;
    page.n_records = r.n_records();
    page.n_samples = r.n_samples;
    page.label_of = [&o, num = r.num](int64_t k) {
        return o.classes.empty() ? std::string() : o.classes[static_cast<size_t>(k / num)];
    };
    return page;
}

void say_left_out(Console& console, const std::vector<std::string>& files) {
    constexpr size_t kShown = 100;
    for (size_t i = 0; i < std::min(files.size(), kShown); ++i)
        console.line("warning: --beside: left out: " + files[i]);
    if (files.size() > kShown)
        console.line(fmt::format("warning: --beside: left out: {} more files", files.size() - kShown));
}

// A clip that is taken out of its folder still says how it was made; nothing in it depends on the other
// records.
AudioTags tags_of(const ListeningPage& page, int64_t record) {
    AudioTags tags{page.label_of(record), kGeneratedComment};
    for (const auto& [name, value] : page.settings) tags.comment += fmt::format("; {}: {}", name, value);
    return tags;
}

}  // namespace

SamplerOptions sampler_options(const cli::GenerateOptions& o, const LoadedModel& loaded, int64_t offset) {
    SamplerOptions s;
    s.temperature = o.temperature;
    s.top_k = o.top_k.value_or(0);
    s.top_p = o.top_p.value_or(0);
    const int64_t V = loaded.model.vocab(), P = std::max<int64_t>(1, loaded.tokenizer->tokens_per_sample());
    s.allowed.assign(static_cast<size_t>(P * V), 0);
    for (int64_t phase = 0; phase < P; ++phase)
        for (const uint16_t id : loaded.domain.alphabet(loaded.data, o.allow_n, phase))
            s.allowed[static_cast<size_t>((phase + offset) % P * V + id)] = 1;
    return s;
}

void generate_audio(App& app, const cli::GenerateOptions& o, LoadedModel& loaded, const Compute& compute) {
    Request request = make_request(o, loaded);
    if (o.spectrogram && o.out == "-") throw UsageError("--spectrogram: needs files, not --out -");
    ListeningPage page = page_of(o, request, loaded);
    ClipPlace place{o.out,           o.overwrite,         o.spectrogram,
                    request.rate_hz, request.n_records(), request.n_samples};
    place.tags = [&page](int64_t record) { return tags_of(page, record); };
    const StopSignals signals;  // before there is a folder that has to go
    request.stop = &signals.flag();
    ClipOutput output(place);
    if (!o.beside.empty()) {
        if (!output.is_folder()) throw UsageError("--beside: needs a folder of clips as --out");
        BesideClips beside = clips_beside({o.beside, o.pattern, o.classes, o.num, o.out});
        page.beside = std::move(beside.clips);
        say_left_out(app.console, beside.left_out);
        page.group = fmt::format("generated into {}", o.out);
    }
    if (o.classes.empty() && !loaded.data.classes.empty())
        app.console.line(fmt::format("no --class is given; the model was trained with one of {}",
                                     fmt::join(loaded.data.classes, ", ")));
    if (output.streams())
        app.console.line(
            fmt::format("raw PCM of 16 bits, mono, {} Hz on standard output; to hear it, append:  | {}",
                        request.rate_hz, output.player()));
    try {
        make_clips(app, o, request, loaded, compute, output);
        if (o.spectrogram) add_spectrograms(output, request.n_records(), request.n_samples, *request.stop);
        if (output.is_folder()) add_listening_page(output, page);
        if (signals.flag()) throw Interrupted{};
        output.commit();
    } catch (const Interrupted&) {
        app.console.finish_line();
        fail("generate: stopped by a signal before the end; {}",
             output.streams() ? "the stream is not complete" : "nothing was written");
    }
}

}  // namespace adder
