// Files cut after every byte, and with bytes changed: right records, or one Error, and never a quiet end
// before a record that was complete.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "datasets/fasta.h"
#include "datasets/reads.h"
#include "tests/datasets/alignments.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Outcome {
    std::vector<std::string> records;  // given out before the end or the error
    std::optional<std::string> error;
};

std::string letters(int64_t n, uint64_t seed) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGT"[rng.below(4, i)];
    return s;
}

Outcome read(const std::string& path, const std::string& reference) {
    Outcome outcome;
    try {
        InputFile file(path);
        if (file.format() == SequenceFormat::fasta || file.format() == SequenceFormat::other) {
            FastaReader reader(std::move(file));
            for (FastaRecord r; reader.next(r);) outcome.records.push_back(r.name + " " + r.sequence);
        } else {
            ReadsReader reader(std::move(file), {}, reference);
            for (Read r; reader.next(r);) {
                EXPECT_TRUE(r.qualities.empty() || r.qualities.size() == r.sequence.size());
                outcome.records.push_back(r.name + " " + r.sequence + " " + r.qualities);
            }
        }
    } catch (const Error& e) {
        outcome.error = e.what();
        EXPECT_THAT(*outcome.error, AllOf(HasSubstr(path), HasSubstr("hint: ")));
        EXPECT_EQ(outcome.error->find('\n'), std::string::npos) << *outcome.error;
    }
    return outcome;
}

struct Specimen {
    std::string what, bytes;
    std::vector<size_t>
        ends;  // byte after each record, where a clean end may be; empty: only the whole file may end so
    bool open_end = false;  // nothing tells where the last record ends: it may come cut
};

class CutFiles : public testing::Test {
  protected:
    Scratch w;
    const std::string contig = letters(600, 9);
    const std::string reference = w.put("ref.fa", ">chr1\n" + contig + "\n");

    // Anew: some file systems write out a file that is cut to nothing and filled again.
    std::string put(const std::string& name, std::string_view bytes) const {
        std::filesystem::remove(w.path(name));
        return w.put(name, bytes);
    }

    std::string sam() const {
        std::string text = "@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:600\n";
        for (int i = 0; i < 6; ++i) text += sam_line(i);
        return text;
    }
    std::string sam_line(int i) const {
        const auto n = static_cast<size_t>(20 + i);
        return fmt::format("r{}\t{}\tchr1\t{}\t60\t{}M\t*\t0\t0\t{}\t{}\tNM:i:0\n", i, i % 2 ? 16 : 0,
                           1 + 50 * i, n, contig.substr(static_cast<size_t>(50 * i), n),
                           std::string(n, static_cast<char>('C' + i)));
    }

    // Text records one after the other, with the ends of each.
    template <class MakeRecord>
    static Specimen text(const std::string& what, const std::string& head, MakeRecord&& make) {
        Specimen s{what, head, {}};
        for (int i = 0; i < 6; ++i) {
            s.bytes += make(i);
            s.ends.push_back(s.bytes.size());
        }
        return s;
    }

    std::vector<Specimen> specimens() const {
        const auto fasta = [](int i) {
            std::string t;
            append_fasta(t, fmt::format("r{} x", i), letters(20 + i, static_cast<uint64_t>(i)), 9);
            return t;
        };
        const auto fastq = [](int i) {
            return fmt::format("@r{} x\n{}\n+\n{}\n", i, letters(20 + i, static_cast<uint64_t>(i)),
                               std::string(static_cast<size_t>(20 + i), static_cast<char>('@' + i)));
        };
        const auto wrapped = [](int i) {
            return fmt::format("@r{}\n{}\n{}\n+\n@{}\n+{}\n", i, letters(9, static_cast<uint64_t>(i)),
                               letters(9, 77), std::string(8, 'I'), std::string(8, '!'));
        };
        std::vector<Specimen> all{
            text("FASTA", "\n", fasta), text("FASTQ", "\n", fastq), text("wrapped FASTQ", "", wrapped),
            text("SAM", "@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:600\n", [&](int i) { return sam_line(i); })};
        all[0].open_end = true;
        const std::string fasta_text = all[0].bytes, fastq_text = all[1].bytes, sam_text = all[3].bytes;
        for (const auto& [what, t] : {std::pair("FASTA", fasta_text), std::pair("FASTQ", fastq_text)}) {
            all.push_back({std::string(what) + " in gzip", gzip(t), {}});
            all.push_back({std::string(what) + " in bgzip", bgzip(t, 70), {}});
        }
        // Between two members gzip cannot know that there was to be another one.
        const size_t half = all[1].ends[2];
        const std::string first = gzip(fastq_text.substr(0, half));
        all.push_back({"FASTQ in two gzip members", first + gzip(fastq_text.substr(half)), {}});
        all.back().ends.assign(3, first.size());
        all.back().ends.resize(6, all.back().bytes.size());
        for (const auto& [what, mode] :
             {std::pair("SAM in bgzip", "wz"), std::pair("BAM", "wb"), std::pair("CRAM", "wc")}) {
            write_alignments(w, "specimen", sam(), mode, reference);
            all.push_back({what, w.get("specimen"), {}});
        }
        all.push_back(plain_bam());
        return all;
    }

    // Records are found by their sizes (SAM specification, section 4.2).
    Specimen plain_bam() const {
        Specimen s{"BAM without compression", gunzip(write_alignments(w, "specimen", sam(), "wb")), {}};
        const auto number = [&](size_t at) {
            size_t v = 0;
            for (size_t i = 4; i-- > 0;) v = v << 8 | static_cast<unsigned char>(s.bytes[at + i]);
            return v;
        };
        size_t at = 8 + number(4);
        const size_t n_contigs = number(at);
        at += 4;
        for (size_t i = 0; i < n_contigs; ++i) at += 8 + number(at);
        while (at < s.bytes.size()) s.ends.push_back(at += 4 + number(at));
        return s;
    }
};

TEST_F(CutFiles, give_right_records_or_an_error_and_lose_no_complete_record_quietly) {
    for (const Specimen& s : specimens()) {
        const Outcome whole = read(w.put("whole", s.bytes), reference);
        ASSERT_EQ(whole.records.size(), 6u) << s.what;
        ASSERT_FALSE(whole.error) << s.what;
        size_t n_clean = 0;
        for (size_t n = 0; n < s.bytes.size(); ++n) {
            const std::string place = fmt::format("{}: {} of {} bytes", s.what, n, s.bytes.size());
            const Outcome cut = read(put("cut", std::string_view(s.bytes).substr(0, n)), reference);
            ASSERT_LE(cut.records.size(), 6u) << place;
            for (size_t i = 0; i < cut.records.size(); ++i) {
                const bool may_be_cut = s.open_end && i + 1 == cut.records.size() && !cut.error;
                const std::string want =
                    may_be_cut ? whole.records[i].substr(0, cut.records[i].size()) : whole.records[i];
                ASSERT_EQ(cut.records[i], want) << place;
            }
            if (cut.error) continue;
            ++n_clean;
            const auto complete =
                std::count_if(s.ends.begin(), s.ends.end(), [&](size_t end) { return end <= n; });
            ASSERT_GE(static_cast<int64_t>(cut.records.size()), complete) << place;
            ASSERT_FALSE(s.ends.empty()) << place << ": ends as if it were whole";
        }
        EXPECT_EQ(n_clean > 0, !s.ends.empty()) << s.what;
    }
}

TEST_F(CutFiles, changed_bytes_give_an_error_or_well_formed_records) {
    const Philox rng(12, Stream::test);
    int64_t accepted = 0, refused = 0;
    for (const Specimen& s : specimens()) {
        if (s.what == "CRAM") continue;  // decoding damaged CRAM is htslib's own concern
        for (uint64_t k = 0; k < 300; ++k) {
            std::string bytes = s.bytes;
            for (uint32_t e = 0; e <= rng.below(3, k, 0); ++e)
                bytes[static_cast<size_t>(rng.below(bytes.size(), k, 2 * e + 1))] =
                    static_cast<char>(rng.below(256, k, 2 * e + 2));
            const Outcome outcome = read(put("changed", bytes), reference);
            for (const std::string& r : outcome.records) EXPECT_NE(r.find(' '), r.npos);
            ++(outcome.error ? refused : accepted);
        }
    }
    EXPECT_GT(accepted, 100);
    EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace adder
