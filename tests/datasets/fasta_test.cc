#include "datasets/fasta.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cctype>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/rng.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<FastaRecord> read_all(const std::string& path) {
    std::vector<FastaRecord> records;
    FastaReader reader(path);
    for (FastaRecord record; reader.next(record);) records.push_back(record);
    return records;
}

std::string joined(const std::vector<FastaRecord>& records) {
    std::string s;
    for (const FastaRecord& r : records) s += r.name + "|" + r.header + "|" + r.sequence + "\n";
    return s;
}

// Deterministic letters, both cases.
std::string letters(int64_t n, uint64_t seed = 1) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGTacgtNnR"[rng.below(11, i)];
    return s;
}

TEST(Fasta, plain_gzip_and_bgzip_are_told_apart_by_content_and_read_alike) {
    Scratch w;
    std::string text;
    append_fasta(text, "chr1 first", letters(100'000), 61);
    append_fasta(text, "chr2", letters(7, 2), 60);
    append_fasta(text, "chr3\tx", letters(150'000, 3), 1'000'000);
    const std::string want = joined(read_all(w.put("plain.gz", text)));
    EXPECT_EQ(want, "chr1|chr1 first|" + letters(100'000) + "\nchr2|chr2|" + letters(7, 2) +
                        "\nchr3|chr3\tx|" + letters(150'000, 3) + "\n");
    EXPECT_EQ(joined(read_all(w.put("gzip.fa", gzip(text)))), want);
    EXPECT_EQ(joined(read_all(w.put("bgzip.txt", bgzip(text)))), want);
    EXPECT_EQ(joined(read_all(w.put("small_blocks", bgzip(text, 997)))), want);
    const size_t half = text.size() / 2;
    EXPECT_EQ(joined(read_all(w.put("two_members", gzip(text.substr(0, half)) + gzip(text.substr(half))))),
              want);
    EXPECT_EQ(joined(read_all(w.put("joined", bgzip(text.substr(0, half)) + bgzip(text.substr(half))))),
              want);
}

TEST(Fasta, line_ends_blank_lines_and_missing_last_newline_do_not_matter) {
    Scratch w;
    const std::string want = "a|a b|ACGTN\nc|c|ggtt\n";
    for (const char* text : {">a b\nACGTN\n>c\nggtt\n", ">a b\r\nACG\r\nTN\r\n>c\r\ngg\r\ntt",
                             "\n\n>a b\n\nAC\n\nGTN\n\n\n>c\nggtt\n\n\n",
                             "> a b\nACGTN  \n>c \ngg\t\ntt \r\n \n", ">a b\nA\nC\nG\nT\nN\n>c\nggt\nt"}) {
        std::vector<FastaRecord> records = read_all(w.put("f", text));
        for (FastaRecord& r : records) r.header.erase(0, r.header.find_first_not_of(' '));
        EXPECT_EQ(joined(records), want) << text;
    }
}

TEST(Fasta, blanks_are_skipped_and_gaps_and_stops_are_skipped_and_counted) {
    Scratch w;
    const auto records = read_all(w.put("f", ">a\n AC GT\tAC\r\n\n-A-.C*\n \n>b\nACGT *\n>c\nA"));
    EXPECT_EQ(joined(records), "a|a|ACGTACAC\nb|b|ACGT\nc|c|A\n");
    EXPECT_EQ(records[0].skipped, 4);
    EXPECT_EQ(records[1].skipped, 1);
    EXPECT_EQ(records[2].skipped, 0);
}

TEST(Fasta, records_can_be_read_run_by_run_and_left_in_the_middle) {
    Scratch w;
    FastaReader reader(w.put("f", ">a x\nAC\nG-T\nACGT\n>b\nTT\n>c\nGG\n"));
    FastaRecord record;
    ASSERT_TRUE(reader.next_header(record));
    EXPECT_EQ(record.header, "a x");
    EXPECT_EQ(reader.next_letters(), "AC");
    EXPECT_EQ(reader.next_letters(), "G");
    EXPECT_EQ(reader.next_letters(), "T");
    EXPECT_EQ(reader.skipped(), 1);
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record.name + record.sequence, "bTT");
    ASSERT_TRUE(reader.next_header(record));
    ASSERT_FALSE(reader.next_header(record));
    EXPECT_EQ(reader.next_letters(), "");
}

// Peak memory of this process in bytes, as Linux counts it.
int64_t peak_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
    return 0;
}

// Through a pipe, so that nothing but the reader knows the line.
TEST(Fasta, one_line_without_end_is_read_in_constant_memory) {
    constexpr int64_t kLetters = int64_t{1} << 28;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    std::thread writer([fd = ends[1]] {
        const std::string piece(1 << 16, 'A');
        bool written = ::write(fd, ">line\n", 6) == 6;
        for (int64_t n = 0; n < kLetters && written; n += static_cast<int64_t>(piece.size()))
            written = ::write(fd, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size());
        ::close(fd);
    });
    const int saved = ::dup(STDIN_FILENO);
    ::dup2(ends[0], STDIN_FILENO);
    const int64_t before = peak_bytes();
    int64_t n = 0;
    {
        FastaReader reader("-");
        FastaRecord record;
        ASSERT_TRUE(reader.next_header(record));
        for (std::string_view run; !(run = reader.next_letters()).empty();) n += static_cast<int64_t>(run.size());
    }
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    ::close(ends[0]);
    writer.join();
    EXPECT_EQ(n, kLetters);
    EXPECT_LT(peak_bytes() - before, 8 << 20);
}

TEST(Fasta, one_line_longer_than_any_buffer_is_read) {
    Scratch w;
    const std::string sequence = letters(3'000'000);
    EXPECT_EQ(read_all(w.put("f", ">big\n" + sequence))[0].sequence, sequence);
}

TEST(Fasta, standard_input_is_read) {
    Scratch w;
    const std::string path = w.put("f", gzip(">a\nACGT\n"));
    const int saved = ::dup(STDIN_FILENO), fd = ::open(path.c_str(), O_RDONLY);
    ::dup2(fd, STDIN_FILENO);
    const std::string got = joined(read_all("-"));
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    ::close(fd);
    EXPECT_EQ(got, "a|a|ACGT\n");
}

TEST(Fasta, bad_input_is_one_line_naming_file_place_and_remedy) {
    Scratch w;
    struct Case {
        std::string bytes;
        const char* says;
    };
    const Case cases[] = {
        {"", "is empty"},
        {"\n \r\n\n", "blank lines only"},
        {"ACGT\n", "expected a header that begins with '>', got 'A'"},
        {"\n\n\nACGT\n", "line 4: expected a header"},
        {std::string("\0\1\2", 3), "got byte 0x00"},
        {"\x80\x81garbage", "got byte 0x80"},
        {">a\n", "record 1 (a), line 1: a header without sequence"},
        {">a", "record 1 (a), line 1: a header without sequence"},
        {">a\nAC\n>b\n\n\n>c\nGT\n", "record 2 (b), line 3: a header without sequence"},
        {">\nACGT\n", "record 1, line 1: the header has no name"},
        {">a\nACGT\n>  \nA\n", "record 2, line 3: the header has no name"},
        {">a\nACGT\n>b\n\nA C-9\n", "record 2 (b), line 5, column 5: expected a letter, got '9'"},
        {">a\nACGT\n>b\n--*\n-", "record 2 (b), line 3: a header without sequence"},
        {">a\nACGT  1\n", "line 2, column 7: expected a letter, got '1'"},
        {">a\nAC>b\n", "line 2, column 3: expected a letter, got '>'; hint: a header must begin its line"},
        {">a\n;comment\nACGT\n", "column 1: expected a letter, got ';'; hint: remove the comment"},
        {std::string(">a\nAC\0GT\n", 9), "column 3: expected a letter, got byte 0x00"},
        {std::string(">a\0b\nACGT\n", 10), "the header holds byte 0x00"},
        {">a\nACGT\xc3\xa9\n", "column 5: expected a letter, got byte 0xc3"},
        {">a\rACGT\r>b\rAC\r", "lines end in \\r alone"},
        {">a\nAC\rGT\n", "got byte 0x0d; hint: lines end in \\r alone"},
        {"@r1\nACGT\n+\nIIII\n", "is a FASTQ file"},
        {"@HD\tVN:1.6\n", "is a SAM file"},
        {gzip("@r1\nACGT\n+\nIIII\n"), "is a FASTQ file"},
        {bgzip(std::string("BAM\1\0\0\0\0", 8)), "is a BAM file"},
        {gzip(gzip(">a\nACGT\n")), "compressed twice"},
        {"LOCUS       NC_1", "is a GenBank file"},
        {"<!DOCTYPE html>", "a web page"},
        {"\xEF\xBB\xBF>a\nACGT\n", "byte-order mark"},
        {"BZh91AY", "compressed with bzip2"},
        {">" + std::string(2'000'000, 'x'), "the header is longer than"},
        {"\x1f\x8b garbage that is no gzip", ".fa: line 1: the compressed data is damaged or cut short"},
    };
    for (const Case& c : cases) {
        const std::string path = w.put("bad.fa", c.bytes);
        const std::string what = error_of([&] { read_all(path); });
        EXPECT_THAT(what, AllOf(HasSubstr(c.says), HasSubstr(path), HasSubstr("hint: ")));
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

TEST(Fasta, a_missing_file_and_a_folder_are_errors) {
    Scratch w;
    EXPECT_THAT(error_of([&] { read_all(w.path("none")); }), HasSubstr("No such file"));
    EXPECT_THAT(error_of([&] { read_all(w.folder()); }), HasSubstr("is a folder"));
    EXPECT_THAT(error_of([&] { read_all("http://localhost/x.fa"); }), HasSubstr("No such file"));
}

// The file is read whole; cut anywhere it is an Error.
void expect_every_cut_fails(const std::string& whole, const std::string& what) {
    Scratch w;
    EXPECT_EQ(read_all(w.put("whole", whole)).size(), 3u) << what;
    for (size_t n = 0; n < whole.size(); ++n) {
        const std::string path = w.put("cut", std::string_view(whole).substr(0, n));
        EXPECT_THROW(read_all(path), Error) << what << ": " << n << " of " << whole.size() << " bytes";
    }
}

TEST(Fasta, truncated_gzip_is_an_error) {
    std::string text;
    for (const char* name : {"a", "b", "c"}) append_fasta(text, name, letters(400));
    expect_every_cut_fails(gzip(text), "gzip");
}

TEST(Fasta, truncated_bgzip_is_an_error_even_between_blocks) {
    std::string text;
    for (const char* name : {"a", "b", "c"}) append_fasta(text, name, letters(400));
    expect_every_cut_fails(bgzip(text, 300), "bgzip");
    Scratch w;
    const std::string blocks = bgzf_block(text.substr(0, 600)) + bgzf_block(text.substr(600));
    EXPECT_THAT(error_of([&] { read_all(w.put("f", blocks)); }),
                HasSubstr("the end block of bgzip is missing"));
}

TEST(Fasta, a_flipped_bit_in_compressed_data_is_an_error_or_changes_nothing) {
    Scratch w;
    std::string text;
    append_fasta(text, "a", letters(3000));
    const std::string want = joined(read_all(w.put("f", text)));
    for (const std::string& whole : {gzip(text), bgzip(text)}) {
        int64_t refused = 0;
        for (size_t i = 0; i < whole.size(); i += 7) {
            std::string bytes = whole;
            bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
            try {
                EXPECT_EQ(joined(read_all(w.put("f", bytes))), want) << "byte " << i;  // unused header bits
            } catch (const Error&) {
                ++refused;
            }
        }
        EXPECT_GT(refused, static_cast<int64_t>(whole.size() / 7 * 9 / 10));
    }
}

// Whatever the bytes are: an Error of one line, or records with a name and letters only.
TEST(Fasta, damaged_text_gives_an_error_or_well_formed_records) {
    Scratch w;
    std::string whole;
    for (const char* name : {"a x", "b", "c"}) append_fasta(whole, name, letters(90), 30);
    const Philox rng(11, Stream::test);
    int64_t accepted = 0, refused = 0;
    for (uint64_t k = 0; k < 1200; ++k) {
        std::string bytes = whole;
        for (uint32_t e = 0; e <= rng.below(3, k, 0); ++e) {
            const auto at = static_cast<size_t>(rng.below(bytes.size(), k, 4 * e + 1));
            const char likely = ">\n\r ACGTacgtN@;-*"[rng.below(18, k, 4 * e + 2)];
            const char value =
                rng.below(4, k, 4 * e + 3) ? likely : static_cast<char>(rng.below(256, k, 200 + e));
            switch (rng.below(3, k, 4 * e + 4)) {
                case 0:
                    bytes.erase(at, 1 + rng.below(20, k, 300 + e));
                    break;
                case 1:
                    bytes.insert(at, 1, value);
                    break;
                default:
                    bytes[at] = value;
            }
        }
        const std::string path = w.put("fuzz", bytes);
        try {
            for (const FastaRecord& r : read_all(path)) {
                EXPECT_FALSE(r.name.empty() || r.sequence.empty());
                for (const char c : r.sequence) EXPECT_TRUE(std::isalpha(static_cast<unsigned char>(c)));
            }
            ++accepted;
        } catch (const Error& e) {
            ++refused;
            EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
        }
    }
    EXPECT_GT(accepted, 100);
    EXPECT_GT(refused, 100);
}

TEST(Fasta, what_is_appended_is_read_again) {
    Scratch w;
    std::string text;
    append_fasta(text, "x seed=1", "ACGTA", 2);
    EXPECT_EQ(text, ">x seed=1\nAC\nGT\nA\n");
    EXPECT_EQ(joined(read_all(w.put("f", text))), "x|x seed=1|ACGTA\n");
}

}  // namespace
}  // namespace adder
