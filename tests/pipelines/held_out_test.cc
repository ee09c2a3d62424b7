#include "pipelines/held_out.h"

#include <gmock/gmock.h>

#include <ctime>
#include <filesystem>

#include "pipelines/audio/audio.h"
#include "pipelines/dna/dna.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DataOptions options_for(const char* domain, std::vector<std::string> input) {
    DataOptions o;
    o.domain = domain;
    o.input = std::move(input);
    return o;
}

std::string error_for(const DataOptions& o) {
    try {
        find_domain(o.domain).load(o);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}
std::vector<std::string> warnings_for(const DataOptions& o) {
    return find_domain(o.domain).load(o).warnings;
}

// 100 bases, no two stretches of ten alike.
const std::string kLetters =
    "ACGTTGCAAGGCTTAACCGATCGGATATCCGTAGCTAAGTCCATGCGTGACTTCAGGACATTGTCGAGTTACGCCTGATACAAACTGGGTCTCCCGCAGA";

std::string genome(const Scratch& w, const std::string& name = "g.fa") {
    return w.put(name, ">x\n" + kLetters + "\n>y\n" + kLetters.substr(50) + "\n");
}

TEST(HeldOut, bases_that_two_rows_of_a_manifest_have_are_in_one_part) {
    const Scratch w;
    w.put("g.fa", ">x\n" + kLetters + "\n");
    const auto by_column = [&](const std::string& rows) {
        return error_for(options_for("dna", {w.put("m.tsv", "path\tname\tsplit\tstart\tend\n" + rows)}));
    };
    EXPECT_THAT(by_column("g.fa\ta\ttrain\t0\t60\ng.fa\tb\tvalid\t40\t100\n"),
                AllOf(HasSubstr("m.tsv: bases 40 to 60 of one sequence"),
                      HasSubstr("both trained on (record a) and held out (record b)")));
    EXPECT_THAT(by_column("g.fa\ta\ttest\t0\t60\ng.fa\tb\ttrain\t60\t70\ng.fa\tc\tvalid\t5\t6\n"),
                HasSubstr("bases 5 to 6 of one sequence are both held out (record c) and tested with (record a)"));
    EXPECT_THAT(by_column("g.fa\ta\ttrain\t\t\ng.fa\tb\tvalid\t40\t\n"), HasSubstr("bases 40 to 100"));
    EXPECT_EQ(by_column("g.fa\ta\ttrain\t0\t60\ng.fa\tb\tvalid\t60\t100\n"), "");
    EXPECT_EQ(by_column("g.fa\ta\ttrain\t0\t60\ng.fa\tb\ttrain\t40\t70\ng.fa\tc\tvalid\t70\t\n"), "");
}

TEST(HeldOut, bases_that_two_records_have_are_in_one_part_whoever_splits) {
    const Scratch w;
    const std::string g = genome(w);
    DataOptions o = options_for("dna", {w.put("m.tsv", "path\tname\tstart\tend\ng.fa\ta\t0\t30\ng.fa\tb\t20\t50\n")});
    EXPECT_EQ(error_for(o), "");
    o.valid_contigs = "a:x";
    EXPECT_THAT(error_for(o), HasSubstr("bases 20 to 30 of one sequence are both trained on (record b:x)"));
    o.valid_contigs = "a:x,b:x,a:y";
    EXPECT_THAT(error_for(o), HasSubstr("trained on (record b:y) and held out (record a:y)"));
    o.valid_contigs = "a:x,b:x";  // y is another sequence
    EXPECT_EQ(error_for(o), "");
    o.valid_contigs = "";
    o.valid_fraction = 0.2;
    EXPECT_THAT(error_for(o), HasSubstr("bases 24 to 30"));
    o.valid_fraction = 0;
    o.valid = {g};
    EXPECT_THAT(error_for(o), HasSubstr("g.fa: bases 0 to 30"));
    o.valid = {};
    o.split_bed = w.put("s.bed", "m.tsv:a:x\t0\t25\ttrain\nm.tsv:b:x\t0\t10\tvalid\n");
    EXPECT_THAT(error_for(o), HasSubstr("bases 20 to 25"));
    o.split_bed = w.put("s.bed", "m.tsv:a:x\t0\t25\ttrain\nm.tsv:b:x\t5\t10\tvalid\n");
    EXPECT_EQ(error_for(o), "");
    // A file that is named beside a part of it, by another name.
    std::filesystem::create_symlink(g, w.path("link.fa"));
    o.split_bed = "";
    o.input.push_back(w.path("link.fa"));
    EXPECT_EQ(error_for(o), "");
    o.valid_contigs = "link.fa:x";
    EXPECT_THAT(error_for(o), HasSubstr("trained on (record a:x)"));
}

TEST(HeldOut, a_file_or_the_same_part_of_it_is_given_once) {
    const Scratch w;
    const std::string g = genome(w), m = w.put("m.tsv", "path\tname\tstart\ng.fa\ta\t\n./g.fa\tb\t0\n");
    EXPECT_THAT(error_for(options_for("dna", {m})),
                AllOf(HasSubstr("given twice"), HasSubstr("m.tsv, line 2"), HasSubstr("m.tsv, line 3")));
    const std::string one = w.put("one.tsv", "path\tname\ng.fa\ta\n");
    EXPECT_THAT(error_for(options_for("dna", {g, one})),
                HasSubstr("given twice, by itself and in " + one + ", line 2"));
    const std::string wav = write_wav(w.path("a.wav"), tone(800));
    for (const char* rows : {"a.wav\tu\t0\t0.05\na.wav\tv\t0\t0.05\n", "a.wav\tu\t\t\na.wav\tv\t\t\n"})
        EXPECT_THAT(error_for(options_for("audio", {w.put("a.tsv", std::string("path\tgroup\tstart\tend\n") + rows)})),
                    AllOf(HasSubstr("given twice"), HasSubstr("a.tsv, line 3")));
    const std::string row = w.put("a.tsv", "path\na.wav\n");
    EXPECT_THAT(error_for(options_for("audio", {row, wav})), HasSubstr("given twice"));
}

TEST(HeldOut, sound_that_two_records_have_is_in_one_part_whoever_splits) {
    const Scratch w;
    const std::string wav = write_wav(w.path("a.wav"), tone(800));
    DataOptions o = options_for(
        "audio", {w.put("m.tsv", "path\tname\tgroup\tstart\tend\na.wav\tp\tu\t0\t0.06\na.wav\tq\tv\t0.04\t\n")});
    EXPECT_EQ(error_for(o), "");
    o.audio.valid_where = "group=u";
    EXPECT_THAT(error_for(o), AllOf(HasSubstr("a.wav: seconds 0.04 to 0.06"), HasSubstr("trained on (record q)")));
    o.audio.valid_where = "";
    o.valid_fraction = 0.5;
    EXPECT_THAT(error_for(o), HasSubstr("seconds 0.04 to 0.06"));
    o.input = {w.put("m.tsv", "path\tname\tstart\tend\na.wav\tp\t0\t0.06\na.wav\tq\t0.04\t\n")};
    o.valid_fraction = 0.25;  // of each, for both are of one file: 0.045 on and 0.085 on
    EXPECT_THAT(error_for(o), HasSubstr("seconds 0.045 to 0.06"));
    o.valid_fraction = 0;
    o.input = {wav};
    o.valid = {w.put("v.tsv", "path\tstart\tend\na.wav\t0\t0.01\n")};
    EXPECT_THAT(error_for(o), HasSubstr("seconds 0 to 0.01"));

    const auto by_column = [&](const std::string& rows, int64_t rate = 0) {
        DataOptions m = options_for("audio", {w.put("c.tsv", "path\tsplit\tstart\tend\n" + rows)});
        if (rate > 0) m.audio.rate = rate;
        return error_for(m);
    };
    EXPECT_THAT(by_column("a.wav\ttrain\t0\t0.03\na.wav\ttest\t0.02\t0.06\n"), HasSubstr("seconds 0.02 to 0.03"));
    // Ranges that meet between two samples of any rate do not overlap.
    for (const int64_t rate : {0, 6000, 11025, 44100})
        EXPECT_EQ(by_column("a.wav\ttrain\t0\t0.03331\na.wav\ttest\t0.03331\t0.06\n", rate), "");
}

TEST(HeldOut, silence_that_is_trimmed_moves_no_border) {
    const Scratch w;
    std::vector<float> x(8000, 0.0f);
    const std::vector<float> loud = tone(4000);
    std::copy(loud.begin(), loud.end(), x.begin() + 2000);
    write_wav(w.path("a.wav"), x);
    const std::string head = "path\tsplit\tstart\tend\na.wav\ttrain\t0\t0.5\n";
    DataOptions o = options_for("audio", {w.put("m.tsv", head + "a.wav\tvalid\t0.5\t\n")});
    o.audio.trim = 40;
    EXPECT_EQ(error_for(o), "");
    o.input = {w.put("m.tsv", head + "a.wav\tvalid\t0.4\t\n")};
    EXPECT_THAT(error_for(o), HasSubstr("seconds 0.4 to 0.5"));
}

TEST(HeldOut, copies_that_are_both_trained_on_and_held_out_are_told_whoever_splits) {
    const Scratch w;
    const auto told = HasSubstr("1 held-out sequence is also trained on, ");
    DataOptions o = options_for("dna", {genome(w), w.put("copy.fa", ">z\n" + kLetters + "\n")});
    EXPECT_THAT(warnings_for(o), IsEmpty());
    o.valid_contigs = "z";
    EXPECT_THAT(warnings_for(o), ElementsAre(told));
    o.valid_contigs = "y";
    EXPECT_THAT(warnings_for(o), IsEmpty());
    o.valid_contigs = "";
    o.valid_fraction = 0.1;  // the ends of the contigs are alike, but none is trained on
    EXPECT_THAT(warnings_for(o), IsEmpty());

    std::filesystem::create_directories(w.path("clips"));
    for (const char* name : {"u_1", "u_2", "v_1"})  // v_1 is a copy of u_1
        write_wav(w.path(fmt::format("clips/{}.wav", name)), tone(50, 1, name[2] * 9));
    DataOptions a = options_for("audio", {w.path("clips")});
    a.audio.pattern = "{group}_{take}";
    a.audio.valid_where = "group=v";
    EXPECT_THAT(warnings_for(a), ElementsAre(told));
    std::filesystem::remove(w.path("clips/u_1.wav"));
    EXPECT_THAT(warnings_for(a), IsEmpty());
}

TEST(HeldOut, asking_for_many_contigs_takes_no_longer_than_reading_them) {
    const Scratch w;
    std::string text;
    DataOptions o = options_for("dna", {});
    constexpr int kContigs = 40000;
    for (int i = 0; i < kContigs; ++i) {
        text += fmt::format(">contig{}\nACGT\n", i);
        o.only.push_back(fmt::format("contig{}", i));
    }
    o.only.pop_back();
    o.input = {w.put("g.fa", text)};
    const auto seconds_of = [&](const DataOptions& options) {
        const std::clock_t begin = std::clock();
        EXPECT_GE(find_domain("dna").load(options).records.size(), size_t{kContigs - 1});
        return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    };
    seconds_of(o);  // builds the index
    const double some = seconds_of(o);
    o.only.clear();
    EXPECT_LT(some, 0.2 + 10 * seconds_of(o));
}

}  // namespace
}  // namespace adder
