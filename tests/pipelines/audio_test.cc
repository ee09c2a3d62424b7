#include "pipelines/audio/audio.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "datasets/audio.h"
#include "pipelines/audio/codec.h"
#include "pipelines/audio/context_model.h"
#include "pipelines/audio/signal_records.h"
#include "pipelines/store.h"
#include "pipelines/windows.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder::audio {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

DataOptions options_for(std::vector<std::string> input) {
    DataOptions o;
    o.domain = "audio";
    o.input = std::move(input);
    return o;
}

std::vector<float> decoded(const TokenRecord& r, Codec codec) {
    std::vector<float> x;
    for (size_t i = 0; i < r.symbols.size(); i += static_cast<size_t>(symbols_per_sample(codec)))
        x.push_back(decode_symbols(codec, &r.symbols[i]));
    return x;
}

TEST(AudioRecords, levels_are_per_record) {
    const Scratch w;
    std::vector<float> x = tone(2000);
    for (float& v : x) v = 0.3f * v + 0.1f;  // from -0.05 to 0.25
    DataOptions o = options_for({write_sound(w.path("a.wav"), x, SF_FORMAT_WAV | SF_FORMAT_FLOAT)});
    o.audio.codec = "pcm16";
    const auto load_at = [&](const char* level, double scale) {
        o.audio.level = level;
        o.audio.scale = scale;
        return decoded(kDomain.load(o).records[0], Codec::pcm16);
    };
    const auto range = [](const std::vector<float>& y) {
        const auto [low, high] = std::minmax_element(y.begin(), y.end());
        return std::pair(*low, *high);
    };
    const float low = *std::min_element(x.begin(), x.end()), high = *std::max_element(x.begin(), x.end());
    EXPECT_NEAR(range(load_at("none", 1)).second, high, 1e-4);
    EXPECT_NEAR(range(load_at("none", 2)).second, 2 * high, 1e-4);
    EXPECT_NEAR(range(load_at("peak", 0.5)).second, 0.5, 1e-4);
    EXPECT_NEAR(range(load_at("peak", 1)).first, low / high, 1e-4);
    EXPECT_NEAR(range(load_at("clip-minmax", 1)).first, -1, 1e-4);
    EXPECT_NEAR(range(load_at("clip-minmax", 1)).second, 1, 1e-4);
    double power = 0;
    for (const float y : load_at("rms", 1)) power += static_cast<double>(y) * y;
    EXPECT_NEAR(std::sqrt(power / 2000), 0.1, 1e-4);
    // Nothing of it was clipped.
    for (const std::string& line : kDomain.load(o).report)
        EXPECT_THAT(line, testing::Not(HasSubstr("clipped")));
}

TEST(AudioRecords, silence_is_trimmed_from_both_ends_and_a_silent_record_stays) {
    const Scratch w;
    std::vector<float> x(800, 1e-4f);  // 100 ms
    const std::vector<float> voice = tone(1600);
    x.insert(x.end(), voice.begin(), voice.end());
    x.insert(x.end(), 400, 0.0f);
    DataOptions o = options_for(
        {write_wav(w.path("a.wav"), x), write_wav(w.path("silent.wav"), std::vector<float>(500))});
    o.audio.trim = 40;
    const Dataset data = kDomain.load(o);
    EXPECT_EQ(data.records[0].symbols.size(), 1600u);
    EXPECT_EQ(data.records[1].symbols.size(), 500u);
    EXPECT_THAT(data.report, Contains(HasSubstr("0.1 s of silence trimmed; 1 record of silence")));
    DataOptions whole = o;
    whole.audio.trim = {};
    EXPECT_EQ(kDomain.load(whole).records[0].symbols.size(), 2800u);
}

TEST(AudioRecords, each_channel_may_be_a_record_and_one_sample_is_one) {
    const Scratch w;
    DataOptions o =
        options_for({write_wav(w.path("a.wav"), tone(50, 2), 8000, 2), write_wav(w.path("b.wav"), {0.25f})});
    o.audio.channels = "each";
    o.audio.rate = 16000;
    const Dataset data = kDomain.load(o);
    std::vector<std::string> names;
    for (const TokenRecord& r : data.records) names.push_back(r.name);
    EXPECT_THAT(names, ElementsAre("a.wav#1", "a.wav#2", "b.wav"));
    EXPECT_EQ(data.records[0].symbols.size(), 100u);
    EXPECT_EQ(data.records[2].symbols.size(), 2u);
    EXPECT_EQ(data.resolved.at("rate"), 16000);
}

TEST(AudioLoad, rates_that_differ_need_one_and_are_listed) {
    const Scratch w;
    DataOptions o =
        options_for({write_wav(w.path("a.wav"), tone(80)), write_wav(w.path("b.wav"), tone(441), 44100)});
    try {
        kDomain.load(o);
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::AllOf(HasSubstr("8000 Hz (1 file, such as a.wav)"),
                                             HasSubstr("44100 Hz"), HasSubstr("--rate")));
    }
    o.audio.rate = 8000;
    const Dataset data = kDomain.load(o);
    EXPECT_EQ(data.records[0].symbols.size(), 80u);
    EXPECT_EQ(data.records[1].symbols.size(), 80u);
    EXPECT_THAT(data.report, Contains(HasSubstr("1 file resampled")));
}

TEST(AudioLoad, unreadable_files_of_a_folder_are_listed_and_named_or_strict_ones_stop) {
    const Scratch w;
    std::filesystem::create_directories(w.path("clips"));
    write_wav(w.path("clips/a.wav"), tone(80));
    w.put("clips/b.wav", "RIFF");
    std::vector<float> bad = tone(80);
    bad[3] = NAN;
    write_sound(w.path("clips/c.wav"), bad, SF_FORMAT_WAV | SF_FORMAT_FLOAT);
    DataOptions o = options_for({w.path("clips")});
    const Dataset data = kDomain.load(o);
    EXPECT_EQ(data.records.size(), 1u);
    EXPECT_THAT(data.report, Contains(HasSubstr("1 file kept, 2 left out")));
    EXPECT_THAT(data.warnings, ElementsAre(HasSubstr("left out: [audio] " + w.path("clips/b.wav")),
                                           HasSubstr("c.wav: frame 3")));
    o.audio.strict = true;
    EXPECT_THROW(kDomain.load(o), Error);
    EXPECT_THROW(kDomain.load(options_for({w.path("clips/a.wav"), w.path("clips/b.wav")})), Error);
    std::filesystem::remove(w.path("clips/a.wav"));
    EXPECT_THROW(kDomain.load(options_for({w.path("clips")})), Error);
    // A manifest's row that cannot be read counts as one of many.
    write_wav(w.path("clips/a.wav"), tone(80));
    const std::string manifest = w.put("list.tsv", "path\tlabel\nclips/a.wav\tx\nclips/missing.wav\ty\n");
    EXPECT_THAT(kDomain.load(options_for({manifest})).warnings,
                Contains(HasSubstr("missing.wav: No such file")));
}

// Four speakers with three clips of each of two words.
std::string clips(const Scratch& w) {
    std::filesystem::create_directories(w.path("clips"));
    for (const char* word : {"no", "yes"})
        for (const char* speaker : {"anna", "bob", "carl", "dora"})
            for (int take = 0; take < 3; ++take)
                write_wav(w.path(fmt::format("clips/{}_{}_{}.wav", word, speaker, take)),
                          tone(50 + take, 1, 300 + 40 * take + 10 * (speaker[0] - 'a') + 5 * (word[0] == 'y')));
    return w.path("clips");
}

std::set<std::string> groups_of(const Dataset& data, const std::vector<Segment>& part) {
    std::set<std::string> groups;
    for (const Segment& s : part) groups.insert(data.records[static_cast<size_t>(s.record)].group);
    return groups;
}

TEST(AudioSplit, a_fraction_keeps_speakers_whole_and_without_groups_warns) {
    const Scratch w;
    DataOptions o = options_for({clips(w)});
    o.valid_fraction = 0.25;
    o.test_fraction = 0.2;
    Dataset data = kDomain.load(o);
    EXPECT_EQ(data.valid.size(), 6u);
    EXPECT_EQ(data.test.size(), 5u);
    EXPECT_THAT(data.warnings, ElementsAre(HasSubstr("no groups")));
    o.audio.pattern = "{label}_{group}_{take}";
    data = kDomain.load(o);
    EXPECT_THAT(data.warnings, ElementsAre());
    EXPECT_EQ(data.valid.size(), 6u);
    EXPECT_EQ(data.test.size(), 6u);
    const auto train = groups_of(data, data.train), valid = groups_of(data, data.valid),
               test = groups_of(data, data.test);
    EXPECT_EQ(train.size(), 2u);
    EXPECT_EQ(valid.size(), 1u);
    EXPECT_EQ(test.size(), 1u);
    EXPECT_FALSE(train.count(*valid.begin()) || train.count(*test.begin()) || valid == test);
    // Others that come leave a speaker where it is.
    const std::string held_out = *valid.begin();
    write_wav(w.path("clips/no_zoe_0.wav"), tone(50));
    EXPECT_EQ(groups_of(kDomain.load(o), kDomain.load(o).valid).count(held_out) +
                  groups_of(kDomain.load(o), kDomain.load(o).test).count(held_out),
              1u);
}

TEST(AudioSplit, speakers_that_are_held_out_and_trained_on_are_told_whoever_splits) {
    const Scratch w;
    const std::string folder = clips(w);
    std::filesystem::create_directories(w.path("more"));
    write_wav(w.path("more/no_bob_7.wav"), tone(50));
    DataOptions o = options_for({folder});
    o.valid = {w.path("more")};
    EXPECT_THAT(kDomain.load(o).warnings, ElementsAre(HasSubstr("no groups")));
    o.audio.pattern = "{label}_{group}_{take}";
    EXPECT_THAT(kDomain.load(o).warnings, ElementsAre(HasSubstr("1 group is both trained on and held out (bob)")));
    o.valid = {};
    o.audio.pattern = "{label}_{who}_{take}";
    o.audio.valid_where = "label=no";
    EXPECT_THAT(kDomain.load(o).warnings, ElementsAre(HasSubstr("no groups")));
    const DataOptions m = options_for({w.put(
        "list.csv", "path,split\nclips/no_bob_1.wav,valid\nclips/yes_bob_1.wav,train\n")});
    EXPECT_THAT(kDomain.load(m).warnings, ElementsAre(HasSubstr("no groups")));
}

TEST(AudioSplit, by_a_field_of_the_name_and_by_manifest) {
    const Scratch w;
    DataOptions o = options_for({clips(w)});
    o.audio.pattern = "{label}_{group}_{take}";
    o.audio.valid_where = "take=0";
    Dataset data = kDomain.load(o);
    EXPECT_EQ(data.valid.size(), 8u);
    for (const Segment& s : data.valid)
        EXPECT_THAT(data.records[static_cast<size_t>(s.record)].name, HasSubstr("_0.wav"));
    EXPECT_THAT(data.warnings,
                ElementsAre(HasSubstr("4 groups are both trained on and held out (anna, bob, carl, dora)")));
    o.audio.valid_where = "group=anna,bob";
    o.audio.test_where = "group=carl";
    data = kDomain.load(o);
    EXPECT_EQ(data.train.size(), 6u);
    EXPECT_EQ(data.test.size(), 6u);
    EXPECT_THAT(data.warnings, ElementsAre());
    o.audio.test_where = "label=no";
    EXPECT_THROW(kDomain.load(o), Error);  // in both parts
    o.audio.test_where = "group=eve";
    EXPECT_THROW(kDomain.load(o), Error);  // none fits
    o.audio.test_where = "speaker=eve";
    EXPECT_THROW(o.check(), UsageError);  // no such field
    o.audio.test_where = "group=carl,dora";
    EXPECT_THROW(kDomain.load(o), Error);  // nothing to train on

    DataOptions m = options_for(
        {w.put("list.csv", "path,label,split\nclips/no_bob_1.wav,no,test\nclips/yes_bob_1.wav,yes,train\n")});
    data = kDomain.load(m);
    EXPECT_EQ(data.test.size(), 1u);
    EXPECT_EQ(data.train.size(), 1u);
    EXPECT_NE(data.split_digest, "");
    m.valid_fraction = 0.5;
    EXPECT_THROW(kDomain.load(m), Error);
}

TEST(AudioSplit, of_one_recording_the_end_is_held_out_between_samples) {
    const Scratch w;
    DataOptions o = options_for({write_wav(w.path("long.wav"), tone(1001))});
    o.valid_fraction = 0.1;
    o.gap = 7;
    for (const char* codec : {"mulaw", "pcm16"}) {
        o.audio.codec = codec;
        const Dataset data = kDomain.load(o);
        const int64_t width = data.tokenizer->tokens_per_sample();
        ASSERT_EQ(data.valid.size(), 1u);
        EXPECT_EQ(data.valid[0].begin % width, 0);
        EXPECT_EQ(data.train[0].end % width, 0);
        EXPECT_NEAR(static_cast<double>(data.valid[0].size() / width), 100.1, 1);
        EXPECT_NEAR(static_cast<double>(data.valid[0].begin - data.train[0].end) / static_cast<double>(width),
                    7, 1);
    }
}

TEST(AudioClasses, labels_stand_before_records_only_when_asked_for) {
    const Scratch w;
    DataOptions o = options_for({clips(w)});
    o.audio.pattern = "{label}_{group}_{take}";
    Dataset data = kDomain.load(o);
    EXPECT_EQ(data.tokenizer->vocabulary(), 256);
    EXPECT_EQ(data.records[0].class_token, kNoToken);
    EXPECT_EQ(data.records[0].label, "no");
    o.audio.class_conditional = true;
    data = kDomain.load(o);
    EXPECT_THAT(data.classes, ElementsAre("no", "yes"));
    EXPECT_EQ(data.tokenizer->vocabulary(), 258);
    for (const TokenRecord& r : data.records) EXPECT_EQ(r.class_token, r.label == "no" ? 256 : 257);
    // Every position of a batch that begins a member holds a class token, and no other one does.
    const WindowSampler sampler(data.records, data.train, *data.tokenizer, {{{1 << 30, 64, 2}}, 1, 5, 0});
    Batch batch(2, 64);
    sampler.fill(0, 0, batch);
    for (int64_t b = 0; b < 2; ++b)
        for (int64_t t = 0; t < 64; ++t)
            EXPECT_EQ(row_of(batch, b).ids[t] >= 256, row_of(batch, b).start[t] == 1);
    // Of a checkpoint: its classes, and records with others have none.
    o.classes = {"yes"};
    data = kDomain.load(o);
    EXPECT_EQ(data.records[0].class_token, kNoToken);
    EXPECT_EQ(data.records.back().class_token, 256);
    EXPECT_THAT(data.warnings, ElementsAre("no class stands before records with a label that the model does not know: "
                                           "12 (no_anna_0.wav: no, no_anna_1.wav: no, no_anna_2.wav: no, no_bob_0.wav: "
                                           "no, no_bob_1.wav: no, ...)"));
    o.needs_classes = false;
    EXPECT_THAT(kDomain.load(o).warnings, ElementsAre());
    o.needs_classes = true;
    // Labels that are missing.
    DataOptions none = options_for({w.path("clips")});
    none.audio.class_conditional = true;
    try {
        kDomain.load(none);
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("records without a label: 24 (no_anna_0.wav"));
    }
}

TEST(AudioStore, has_the_digest_split_and_settings_of_its_source) {
    const Scratch w;
    DataOptions o = options_for({clips(w)});
    o.audio.pattern = "{label}_{group}_{take}";
    o.audio.valid_where = "take=2";
    o.audio.codec = "pcm16";
    o.audio.level = "peak";
    o.audio.rate = 16000;
    const Dataset source = kDomain.load(o);
    o.audio.class_conditional = true;
    const Dataset classes = kDomain.load(o);
    write_store(w.path("a.h5"), source, {"audio", source.resolved, kDomain.packed});
    DataOptions from = options_for({w.path("a.h5")});
    const Dataset stored = kDomain.load(from);
    EXPECT_EQ(stored.digest, source.digest);
    EXPECT_EQ(stored.split_digest, source.split_digest);
    EXPECT_EQ(stored.valid.size(), 8u);
    EXPECT_EQ(stored.tokenizer->vocabulary(), 512);
    EXPECT_EQ(stored.resolved, source.resolved);
    from.audio.class_conditional = true;
    EXPECT_EQ(kDomain.load(from).digest, classes.digest);
    for (const auto& change : std::vector<std::function<void(AudioOptions&)>>{
             [](AudioOptions& a) { a.codec = "mulaw"; }, [](AudioOptions& a) { a.rate = 8000; },
             [](AudioOptions& a) { a.level = "none"; }}) {
        DataOptions other = options_for({w.path("a.h5")});
        change(other.audio);
        EXPECT_THROW(kDomain.load(other), Error);
    }
}

TEST(AudioBaselines, a_context_model_beats_a_histogram_where_samples_depend_on_each_other) {
    std::vector<uint8_t> ramp;
    for (int i = 0; i < 20000; ++i) ramp.push_back(static_cast<uint8_t>(i * 7));
    double last = 9;
    for (const int64_t order : {0, 1, 2}) {
        ContextModel model(order, 1);
        model.train(ramp);
        double bits = 0;
        EXPECT_EQ(model.score(ramp, 1, bits), 19999);
        const double per_symbol = bits / 19999;
        EXPECT_NEAR(per_symbol, order == 0 ? 8 : 0.15, 0.15) << order;
        EXPECT_LT(per_symbol, last);
        last = per_symbol + 0.3;
    }
    // Probabilities of all symbols after any context add up to one.
    ContextModel model(2, 2);
    model.train(std::vector<uint8_t>{1, 2, 3, 1, 2, 4, 1, 2, 3, 9});
    for (const std::vector<uint8_t>& context : {std::vector<uint8_t>{}, {1}, {1, 2}, {3, 3}, {1, 2, 3}}) {
        double sum = 0;
        for (int s = 0; s < 256; ++s) {
            std::vector<uint8_t> x = context;
            x.push_back(static_cast<uint8_t>(s));
            double bits = 0;
            model.score(x, static_cast<int64_t>(context.size()), bits);
            sum += std::exp2(-bits);
        }
        EXPECT_NEAR(sum, 1, 1e-9);
    }
    EXPECT_THROW(ContextModel(3, 1), Error);
}

}  // namespace
}  // namespace adder::audio
