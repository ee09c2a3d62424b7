// Reads as records of the DNA domain, and as windows of a batch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/rng.h"
#include "pipelines/dna/dna.h"
#include "pipelines/dna/tokenizer.h"
#include "pipelines/windows.h"
#include "tests/datasets/alignments.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder::dna {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Dataset load(const std::string& path, const DnaOptions& dna = {}) {
    DataOptions options;
    options.input = {path};
    options.dna = dna;
    return kDomain.load(options);
}

std::string bases(int64_t n, uint64_t seed) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGT"[rng.below(4, i)];
    return s;
}

std::string fastq(const std::string& name, const std::string& sequence) {
    return fmt::format("@{}\n{}\n+\n{}\n", name, sequence, std::string(sequence.size(), 'I'));
}

TEST(DnaReads, the_same_sequences_have_the_same_digest_in_every_format) {
    Scratch w;
    const std::string a = bases(70, 1), b = bases(9, 2);
    const std::string fasta = w.put("a.fa", ">a\n" + a + "\n>b\n" + b + "\n");
    const std::string want = load(fasta).digest;
    EXPECT_EQ(load(w.put("a.fq", fastq("a", a) + fastq("b", b))).digest, want);
    EXPECT_EQ(load(w.put("a.gz", gzip(fastq("a", a) + fastq("b", b)))).digest, want);
    const std::string sam =
        "@HD\tVN:1.6\na\t4\t*\t0\t0\t*\t*\t0\t0\t" + a + "\t*\nb\t4\t*\t0\t0\t*\t*\t0\t0\t" + b + "\t*\n";
    for (const char* mode : {"w", "wb"})
        EXPECT_EQ(load(write_alignments(w, "x", sam, mode)).digest, want) << mode;
    EXPECT_EQ(load(write_alignments(w, "x", sam, "wc", "no_ref")).digest, want);
}

TEST(DnaReads, what_was_read_kept_and_dropped_is_reported) {
    Scratch w;
    const std::string path = w.put(
        "a.fq", fastq("a", "ACGTACGT") + fastq("b", "ACG") + "@c\nACGTA\n+\n#####\n@d\nACGTA\n+\nII!II\n");
    DnaOptions o;
    o.min_length = 4;
    o.min_quality = 5;
    o.min_base_quality = 10;
    const Dataset data = load(path, o);
    ASSERT_EQ(data.records.size(), 2u);
    EXPECT_EQ(data.records[1].name, "d");
    EXPECT_EQ(data.records[1].symbols.size(), 5u);
    EXPECT_THAT(
        data.report,
        Contains(AllOf(
            HasSubstr(path + ": FASTQ: 4 reads, 2 kept (13 bases), 2 dropped: 1 shorter than 4 bases, 1 of "
                             "mean quality below 5"),
            HasSubstr("1 bases of quality below 10 read as N"))));
    EXPECT_THAT(data.report, Contains(HasSubstr("2 records, 13 bases: A C G T 12, N 1")));
}

TEST(DnaReads, a_quality_asked_of_fasta_and_a_file_of_which_nothing_is_kept_are_warned_about) {
    Scratch w;
    DnaOptions o;
    o.min_quality = 30;
    EXPECT_THAT(load(w.put("a.fa", ">a\nACGT\n"), o).warnings,
                ElementsAre(HasSubstr("FASTA has no qualities")));
    EXPECT_THAT(load(w.put("a.fq", "@a\nACGT\n+\n!!!!\n"), o).warnings,
                ElementsAre(HasSubstr("no read is kept")));
    EXPECT_THAT(load(w.put("a.fq", fastq("a", "ACGT")), o).warnings, IsEmpty());
}

TEST(DnaReads, mates_and_reads_of_one_name_are_records_of_their_own) {
    Scratch w;
    const Dataset data = load(w.put(
        "a.fq", fastq("r 1:N:0:A", "ACGT") + fastq("r 2:N:0:A", "CC") + fastq("x", "GG") + fastq("x", "TT")));
    std::vector<std::string> names;
    for (const TokenRecord& r : data.records) names.push_back(r.name);
    EXPECT_THAT(names, ElementsAre("r/1", "r/2", "x", "x"));
}

// Members of a row, as their tokens; the last target of a member is its last token.
std::vector<std::string> members_of(Batch& batch) {
    const BatchRow row = row_of(batch, 0);
    std::vector<std::string> members;
    for (int64_t t = 0; t < batch.L; ++t) {
        if (row.ids[t] == kPad) break;
        if (row.start[t]) members.emplace_back();
        members.back() += "ACGTN"[row.ids[t] - kA];
        if (t + 1 == batch.L || row.start[t + 1]) members.back() += "ACGTN"[row.targets[t] - kA];
    }
    return members;
}

TEST(DnaReads, ten_thousand_short_reads_fill_a_context_each_with_a_start_of_its_own) {
    Scratch w;
    constexpr int64_t kReads = 10'000;
    std::string text;
    std::map<std::string, int64_t> want;
    int64_t n_positions = 0;
    for (int64_t i = 0; i < kReads; ++i) {
        const std::string s = bases(80 + i % 71, static_cast<uint64_t>(i));
        text += fastq(fmt::format("r{}", i), s);
        ++want[s];
        n_positions += static_cast<int64_t>(s.size()) - 1;
    }
    const Dataset data = load(w.put("a.fq", text));
    const WindowSampler sampler(data.records, data.train, *data.tokenizer, {{{10, n_positions, 1}}, 1, 1, 0});
    ASSERT_EQ(sampler.n_windows(n_positions), 1);
    Batch batch(1, n_positions);
    sampler.fill(0, 0, batch);
    std::vector<std::string> members = members_of(batch);
    // The ring is cut somewhere inside a read, whose two parts then stand first and last.
    ASSERT_GE(members.size(), static_cast<size_t>(kReads));
    ASSERT_LE(members.size(), static_cast<size_t>(kReads) + 1);
    if (members.size() > static_cast<size_t>(kReads)) {
        const std::string end = members.front();
        members.erase(members.begin());
        members.back() += end.substr(1);
    }
    std::map<std::string, int64_t> got;
    for (const std::string& m : members) ++got[m];
    EXPECT_TRUE(got == want);
}

TEST(DnaReads, a_read_of_400_kb_is_cut_into_windows_that_hold_all_of_it) {
    Scratch w;
    const std::string read = bases(400'000, 7);
    const Dataset data = load(w.put("a.fq", fastq("ultra_long", read)));
    ASSERT_EQ(data.records.size(), 1u);
    for (const int64_t L : {int64_t{1} << 14, int64_t{1} << 17}) {
        const WindowSampler sampler(data.records, data.train, *data.tokenizer, {{{1000, L, 1}}, 1, 1, 0});
        EXPECT_EQ(sampler.n_positions(), 399'999);
        std::vector<int> seen(read.size() - 1, 0);
        Batch batch(1, L);
        for (int64_t step = 0; step < sampler.n_windows(L); ++step) {
            sampler.fill(step, 0, batch);
            for (const std::string& m : members_of(batch)) {
                const size_t at = read.find(m);  // 50 random bases occur once
                ASSERT_NE(at, read.npos);
                if (m.size() < 50) continue;
                for (size_t i = 0; i + 1 < m.size(); ++i) ++seen[at + i];
            }
        }
        int64_t once = 0;
        for (const int n : seen) once += n == 1;
        EXPECT_GE(once, 399'999 - 100);  // but for pieces too short to be found
        for (const int n : seen) ASSERT_LE(n, 1);
    }
}

}  // namespace
}  // namespace adder::dna
