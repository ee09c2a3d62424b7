#include "datasets/audio_inputs.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "core/error.h"
#include "io/file.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(FilePattern, takes_names_apart) {
    std::map<std::string, std::string> f;
    ASSERT_TRUE(FilePattern("{label}_{group}_{take}").match("7_jackson_32", f));
    EXPECT_EQ(f, (std::map<std::string, std::string>{{"label", "7"}, {"group", "jackson"}, {"take", "32"}}));
    EXPECT_TRUE(FilePattern("{label}/{group}_nohash_{take}").match("yes/ab12_nohash_0", f));
    EXPECT_EQ(f["group"], "ab12");
    EXPECT_TRUE(FilePattern("{a}_{b}").match("x_y_z", f));
    EXPECT_EQ(f["b"], "y_z");
    EXPECT_TRUE(FilePattern("{a}b{c}b").match("xbybzb", f));
    EXPECT_EQ(f["c"], "ybz");
    EXPECT_FALSE(FilePattern("{label}_{group}").match("nothing", f));
    EXPECT_FALSE(FilePattern("{label}_{group}").match("_x", f));
    EXPECT_FALSE(FilePattern("{label}").match("a/b", f));
    for (const char* bad : {"{label", "label}", "{}", "{a}{b}", "{a}_{a}", "plain", ""})
        EXPECT_THROW(FilePattern{bad}, UsageError) << bad;
    EXPECT_TRUE(FieldChoice("x", "take=0-4,10").holds("4"));
    EXPECT_TRUE(FieldChoice("x", "take=0-4,10").holds("10"));
    EXPECT_FALSE(FieldChoice("x", "take=0-4,10").holds("5"));
    EXPECT_TRUE(FieldChoice("x", "group=a-b,theo").holds("a-b"));
    for (const char* bad : {"take", "=3", "take=", "take=1,,2", "take=4-1"})
        EXPECT_THROW(FieldChoice("x", bad), UsageError) << bad;
}

TEST(AudioInputs, what_is_behind_links_is_found_once) {
    const Scratch w;
    std::filesystem::create_directories(w.path("clips/no"));
    std::filesystem::create_directories(w.path("elsewhere/yes"));
    for (const char* name : {"clips/no/a.wav", "elsewhere/yes/b.wav", "elsewhere/c.wav"}) write_wav(w.path(name), tone(10));
    w.put("clips/no/.hidden.wav", "x");
    std::filesystem::create_directory_symlink(w.path("elsewhere"), w.path("clips/a_link"));
    std::filesystem::create_directory_symlink(w.path("clips"), w.path("elsewhere/back"));
    std::filesystem::create_directory_symlink(w.path("clips/no"), w.path("clips/again"));
    std::filesystem::create_symlink(w.path("clips/no/a.wav"), w.path("clips/0.wav"));
    std::filesystem::create_symlink(w.path("clips/nowhere"), w.path("clips/broken.wav"));
    const std::vector<std::string> folder{w.path("clips")};
    const AudioListing l = audio_inputs(folder, nullptr);
    std::vector<std::string> names;
    for (const AudioItem& i : l.items) names.push_back(i.name + "=" + i.label);
    EXPECT_THAT(names, ElementsAre("a_link/c.wav=a_link", "a_link/yes/b.wav=yes", "no/a.wav=no"));
    EXPECT_THAT(l.report, ElementsAre(HasSubstr("3 audio files, 1 others left out")));
    EXPECT_THAT(l.unreadable, ElementsAre(HasSubstr("broken.wav: No such file")));
}

TEST(AudioInputs, folders_that_cannot_be_listed_are_named) {
    if (::geteuid() == 0) GTEST_SKIP() << "root may read all";
    const Scratch w;
    std::filesystem::create_directories(w.path("clips/sub"));
    write_wav(w.path("clips/a.wav"), tone(10));
    std::filesystem::permissions(w.path("clips/sub"), std::filesystem::perms::none);
    const std::vector<std::string> folder{w.path("clips")}, glob{w.path("clips/*/*.wav")};
    EXPECT_THAT(audio_inputs(folder, nullptr).unreadable, ElementsAre(w.path("clips/sub") + ": Permission denied"));
    std::string error;
    try {
        audio_inputs(glob, nullptr);
    } catch (const Error& e) {
        error = e.what();
    }
    EXPECT_THAT(error, HasSubstr("no file fits, but " + w.path("clips/sub") + ": Permission denied"));
    std::filesystem::permissions(w.path("clips/sub"), std::filesystem::perms::all);
}

TEST(AudioInputs, one_of_several_folders_is_the_label_of_the_files_directly_in_it) {
    const Scratch w;
    std::filesystem::create_directories(w.path("a"));
    std::filesystem::create_directories(w.path("b/deep"));
    for (const char* name : {"a/x_1.wav", "b/y_2.wav", "b/deep/z_3.wav"}) write_wav(w.path(name), tone(10));
    const std::vector<std::string> both{w.path("a/"), w.path("b/deep/..")}, one{w.path("a")};
    const auto labels = [](const AudioListing& l) {
        std::vector<std::string> out;
        for (const AudioItem& i : l.items) out.push_back(i.label);
        return out;
    };
    EXPECT_THAT(labels(audio_inputs(both, nullptr)), ElementsAre("a", "deep", "b"));
    EXPECT_THAT(labels(audio_inputs(one, nullptr)), ElementsAre(""));
    const FilePattern pattern("{label}_{take}");
    EXPECT_THAT(labels(audio_inputs(both, &pattern)), ElementsAre("x", "z", "y"));
}

TEST(AudioInputs, folders_globs_and_manifests) {
    const Scratch w;
    std::filesystem::create_directories(w.path("clips/yes/.hidden"));
    std::filesystem::create_directories(w.path("clips/no"));
    for (const char* name :
         {"clips/yes/b_1.wav", "clips/yes/a_2.wav", "clips/no/a_1.wav", "clips/yes/.hidden/c_1.wav"})
        write_wav(w.path(name), tone(10));
    w.put("clips/readme.txt", "x");
    const auto names = [](const AudioListing& l) {
        std::vector<std::string> out;
        for (const AudioItem& i : l.items) out.push_back(i.name + "=" + i.label + "/" + i.group);
        return out;
    };
    const std::vector<std::string> folder{w.path("clips")};
    EXPECT_THAT(names(audio_inputs(folder, nullptr)),
                ElementsAre("no/a_1.wav=no/", "yes/a_2.wav=yes/", "yes/b_1.wav=yes/"));
    EXPECT_THAT(audio_inputs(folder, nullptr).report,
                ElementsAre(HasSubstr("3 audio files, 2 others left out")));
    const FilePattern pattern("{group}_{take}");
    EXPECT_THAT(names(audio_inputs(folder, &pattern)),
                ElementsAre("no/a_1.wav=no/a", "yes/a_2.wav=yes/a", "yes/b_1.wav=yes/b"));
    const std::vector<std::string> glob{w.path("clips/*/a_*.wav")}, none{w.path("*.mp3")};
    EXPECT_THAT(names(audio_inputs(glob, nullptr)), ElementsAre("a_1.wav=no/", "a_2.wav=yes/"));
    EXPECT_THROW(audio_inputs(none, nullptr), Error);
    const std::vector<std::string> single{w.path("clips/no/a_1.wav")};
    EXPECT_THAT(names(audio_inputs(single, nullptr)), ElementsAre("a_1.wav=no/"));
    const std::vector<std::string> twice{w.path("clips"), w.path("clips/no/a_1.wav")};
    EXPECT_THROW(audio_inputs(twice, nullptr), Error);
    const FilePattern misfit("{label}_{group}_{take}");
    EXPECT_THROW(audio_inputs(folder, &misfit), Error);
    std::filesystem::create_directories(w.path("nothing"));
    const std::vector<std::string> nothing{w.path("nothing")};
    EXPECT_THROW(audio_inputs(nothing, nullptr), Error);

    const std::vector<std::string> manifest{
        w.put("list.tsv",
              "path\tlabel\tsplit\tstart\tend\tgroup\nclips/no/a_1.wav\tn\ttrain\t0\t0.5\tanna\n"
              "clips/no/a_1.wav\tn\ttrain\t0.5\t\tanna\nclips/yes/b_1.wav\ty\ttest\t\t\tbob\n")};
    const AudioListing l = audio_inputs(manifest, nullptr);
    EXPECT_THAT(names(l), ElementsAre("clips/no/a_1.wav=n/anna", "clips/no/a_1.wav@0.5=n/anna",
                                      "clips/yes/b_1.wav=y/bob"));
    EXPECT_TRUE(l.has_split);
    EXPECT_EQ(l.items[2].split, SplitPart::test);
    EXPECT_EQ(l.items[1].start_s, 0.5);
    EXPECT_FALSE(l.items[1].end_s);
    const std::vector<std::string> lines{
        w.put("list.jsonl", "{\"path\": \"clips/no/a_1.wav\", \"label\": \"n\"}\n")};
    EXPECT_THAT(names(audio_inputs(lines, nullptr)), ElementsAre("clips/no/a_1.wav=n/"));
    // These suffixes are of manifests, whatever is in them.
    for (const auto& [name, text, error] :
         {std::tuple{"x.tsv", "file\tlabel\na.wav\tn\n", "no column 'path'"},
          {"x.jsonl", "{\"path\": \"a.wav\"\n", "line 1: is no JSON"},
          {"x.CSV", "\n", "is empty"}}) {
        const std::vector<std::string> bad{w.put(name, text)};
        EXPECT_THAT([&] { audio_inputs(bad, nullptr); },
                    ::testing::ThrowsMessage<Error>(AllOf(HasSubstr(name), HasSubstr(error))));
    }
    const std::vector<std::string> sequences{w.put("dna.tsv", "sequence\tlabel\nACGT\tx\n")};
    EXPECT_THROW(audio_inputs(sequences, nullptr), Error);
}

}  // namespace
}  // namespace adder
