#include "datasets/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Inputs, a_folder_stands_for_its_fasta_files_in_order) {
    Scratch w;
    w.put("b.fa", ">b\nA\n");
    w.put("a.FNA.gz", gzip(">a\nA\n"));
    w.put("c.txt", ">c\nA\n");
    w.put("d.data", gzip("\n>d\nA\n"));
    w.put("readme.md", "text");
    w.put("protein.faa", ">p\nMV\n");
    w.put(".hidden.fa", ">h\nA\n");
    w.put("b.fa.fai", "b\t1\t3\t1\t2\n");
    std::filesystem::create_directory(w.path("sub.fa"));
    const std::vector<std::string> one{w.folder()};
    EXPECT_THAT(sequence_inputs(one),
                ElementsAre(w.path("a.FNA.gz"), w.path("b.fa"), w.path("c.txt"), w.path("d.data")));
    const std::vector<std::string> two{w.path("readme.md"), "-", w.path("b.fa")};
    EXPECT_THAT(sequence_inputs(two), ElementsAre(w.path("readme.md"), "-", w.path("b.fa")));
}

TEST(Inputs, what_a_folder_holds_beside_is_said) {
    Scratch w;
    w.put("a.fa", ">b\nA\n");
    w.put("a.fa.fai", "b\t1\t3\t1\t2\n");
    w.put(".hidden", "text");
    const std::vector<std::string> folder{w.folder()};
    std::vector<std::string> notes;
    sequence_inputs(folder, &notes);
    EXPECT_TRUE(notes.empty());
    w.put("readme.md", "text");
    sequence_inputs(folder, &notes);
    w.put("protein.faa.gz", "");
    std::filesystem::create_directory(w.path("more"));
    sequence_inputs(folder, &notes);
    EXPECT_THAT(notes, ElementsAre("left out in " + w.folder() + ": 1 file (readme.md)",
                                   "left out in " + w.folder() +
                                       ": 2 files (protein.faa.gz, readme.md), 1 subfolder (more)"));
}

// So that the reader says how to decompress it, as where it is named.
TEST(Inputs, sequences_in_another_compression_are_not_left_out) {
    for (const char* name : {"a.fa.bz2", "a.FASTA.xz", "a.fna.zst", "a.fq.bz2", "a.fastq.zip"}) {
        Scratch w;
        const std::vector<std::string> folder{w.folder()};
        w.put(name, "BZh9");
        EXPECT_THAT(sequence_inputs(folder), ElementsAre(w.path(name)));
    }
}

TEST(Inputs, a_folder_stands_for_its_reads_too_but_not_for_a_mixture) {
    Scratch w;
    w.put("b.fastq", "");
    w.put("a.FQ.gz", "");
    w.put("c.cram", "");
    w.put("d.data", bgzip(std::string("BAM\1\0\0\0\0\0\0\0\0", 12)));
    w.put("notes.txt", "@a note\n");
    w.put("d.data.bai", "BAI\1");
    const std::vector<std::string> one{w.folder()};
    EXPECT_THAT(sequence_inputs(one),
                ElementsAre(w.path("a.FQ.gz"), w.path("b.fastq"), w.path("c.cram"), w.path("d.data")));
    w.put("ref.fa", ">a\nA\n");
    EXPECT_THAT(
        error_of([&] { sequence_inputs(one); }),
        AllOf(HasSubstr("holds both sequences (ref.fa) and reads ("), HasSubstr("hint: name the files")));
}

TEST(Inputs, missing_empty_and_doubled_inputs_are_errors) {
    Scratch w;
    const auto error = [&](std::vector<std::string> values) {
        return error_of([&] { sequence_inputs(values); });
    };
    EXPECT_THAT(error({}), HasSubstr("nothing to read"));
    EXPECT_THAT(error({w.path("none.fa")}), AllOf(HasSubstr("none.fa"), HasSubstr("No such file")));
    EXPECT_THAT(error({w.folder()}), AllOf(HasSubstr("no FASTA file"), HasSubstr(w.folder())));
    const std::string a = w.put("a.fa", ">a\nA\n");
    EXPECT_THAT(error({a, w.folder()}), AllOf(HasSubstr("given twice"), HasSubstr("a.fa")));
    EXPECT_THAT(error({"-", "-"}), HasSubstr("given twice"));
}

}  // namespace
}  // namespace adder
