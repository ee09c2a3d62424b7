#include "io/hdf5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <string>
#include <vector>

#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

template <class T>
std::vector<T> ramp(int64_t n) {
    std::vector<T> v(static_cast<size_t>(n));
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(i * 37 + 11);
    return v;
}

// Appends in pieces that fit no chunk.
template <class T>
void append_in_pieces(Hdf5Writer& out, const std::string& name, const std::vector<T>& values, int64_t width) {
    const auto n_rows = static_cast<int64_t>(values.size()) / width;
    for (int64_t at = 0, piece = 1; at < n_rows; at += piece, piece = std::min(piece * 3, n_rows - at))
        out.append(name, values.data() + at * width, std::min(piece, n_rows - at));
}

constexpr int64_t kRows = 100003;  // several chunks of every type but bytes

void write_every_kind(const std::string& path) {
    Hdf5Writer out(path);
    out.dataset("bytes", {DType::u8, 0, 1});
    out.dataset("words", {DType::u16});
    out.dataset("deep/er/offsets", {DType::i64, 0, 6});
    out.dataset("rows", {DType::f32, 7});
    out.dataset("exact", {DType::f64, 3, 9});
    out.dataset("none", {DType::f32, 5});
    out.strings("name");
    out.group("settings");
    append_in_pieces(out, "bytes", ramp<uint8_t>(kRows), 1);
    append_in_pieces(out, "words", ramp<uint16_t>(kRows), 1);
    append_in_pieces(out, "deep/er/offsets", ramp<int64_t>(kRows), 1);
    append_in_pieces(out, "rows", ramp<float>(kRows * 7), 7);
    append_in_pieces(out, "exact", ramp<double>(kRows * 3), 3);
    for (int i = 0; i < 40000; ++i) out.append("name", {fmt::format("chr{}", i)});
    out.append("name", {"", "Straße"});
    out.attribute("/", "digest", "0123");
    out.attribute("/", "none", "");
    out.attribute("/", "long", std::string(100000, 'x'));
    out.attribute("settings", "rate_hz", int64_t{16000});
    out.attribute("rows", "scale", 0.1);
    out.commit();
}

TEST(Hdf5, what_is_written_is_read) {
    Scratch w;
    write_every_kind(w.path("all.h5"));
    EXPECT_EQ(w.n_files(), 1);
    const Hdf5Reader in(w.path("all.h5"));
    EXPECT_EQ(in.read_all<uint8_t>("bytes"), ramp<uint8_t>(kRows));
    EXPECT_EQ(in.read_all<uint16_t>("words"), ramp<uint16_t>(kRows));
    EXPECT_EQ(in.read_all<int64_t>("deep/er/offsets"), ramp<int64_t>(kRows));
    EXPECT_EQ(in.read_all<float>("rows"), ramp<float>(kRows * 7));
    EXPECT_EQ(in.read_all<double>("exact"), ramp<double>(kRows * 3));
    EXPECT_EQ(in.info("none").shape, (std::vector<int64_t>{0, 5}));
    EXPECT_TRUE(in.read_all<float>("none").empty());
    EXPECT_EQ(in.info("rows").text(), "f32 (100003,7)");
    EXPECT_THAT(in.read_strings("name", 39999, 3), ElementsAre("chr39999", "", "Straße"));
    EXPECT_THAT(in.names("/"), ElementsAre("bytes", "deep", "exact", "name", "none", "rows", "settings", "words"));
    EXPECT_TRUE(in.has("deep/er") && !in.has("deep/er/nothing") && !in.has("bytes/below"));
    EXPECT_EQ(in.attribute<std::string>("/", "digest"), "0123");
    EXPECT_EQ(in.attribute<std::string>("/", "none"), "");
    EXPECT_EQ(in.attribute<std::string>("/", "long"), std::string(100000, 'x'));
    EXPECT_EQ(in.attribute<int64_t>("settings", "rate_hz"), 16000);
    EXPECT_EQ(in.attribute<double>("rows", "scale"), 0.1);
    EXPECT_TRUE(in.has_attribute("/", "digest") && !in.has_attribute("/", "scale"));
}

TEST(Hdf5, a_slice_is_that_part_of_the_whole) {
    Scratch w;
    write_every_kind(w.path("all.h5"));
    const Hdf5Reader in(w.path("all.h5"));
    const std::vector<float> all = in.read_all<float>("rows");
    std::vector<float> part(7 * 12345);
    in.read("rows", 54321, 12345, part.data());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 7 * 54321));
}

TEST(Hdf5, a_few_rows_make_a_small_file) {
    Scratch w;
    {
        Hdf5Writer out(w.path("small.h5"));
        out.dataset("embedding", {DType::f32, 64});
        out.append("embedding", ramp<float>(64 * 3).data(), 3);
        out.commit();
    }
    EXPECT_LT(w.get("small.h5").size(), 4096u);
}

TEST(Hdf5, without_commit_nothing_is_left_and_an_old_file_stays) {
    Scratch w;
    w.put("old.h5", "old");
    {
        Hdf5Writer out(w.path("old.h5"));
        out.dataset("bytes", {DType::u8});
        out.append("bytes", ramp<uint8_t>(1 << 20).data(), 1 << 20);
    }
    EXPECT_EQ(w.get("old.h5"), "old");
    EXPECT_EQ(w.n_files(), 1);
}

TEST(Hdf5, a_wrong_use_says_what_is_there) {
    Scratch w;
    write_every_kind(w.path("all.h5"));
    const Hdf5Reader in(w.path("all.h5"));
    EXPECT_THAT(error_of([&] { in.read_all<double>("rows"); }),
                AllOf(HasSubstr("all.h5: dataset rows: expected f64"), HasSubstr("f32 (100003,7)")));
    EXPECT_THAT(error_of([&] { in.read_all<float>("embedding"); }), HasSubstr("there is no dataset embedding"));
    EXPECT_THAT(error_of([&] { in.read_strings("rows", 0, 1); }), HasSubstr("dataset rows: expected strings"));
    EXPECT_THAT(error_of([&] { in.read_all<uint8_t>("name"); }), HasSubstr("got strings (40002)"));
    uint8_t byte = 0;
    EXPECT_THAT(error_of([&] { in.read("bytes", kRows, 1, &byte); }), HasSubstr("expected rows 100003 to 100004"));
    EXPECT_THAT(error_of([&] { in.attribute<int64_t>("/", "digest"); }), HasSubstr("attribute digest of /"));
    EXPECT_THAT(error_of([&] { in.attribute<int64_t>("/", "rate"); }), HasSubstr("/ has no attribute rate"));
    EXPECT_THAT(error_of([&] { in.info("settings"); }), HasSubstr("settings: cannot be opened"));

    Hdf5Writer out(w.path("out.h5"));
    out.dataset("a", {DType::u8});
    EXPECT_THAT(error_of([&] { out.dataset("a", {DType::u8}); }), HasSubstr("dataset a exists already"));
    EXPECT_THAT(error_of([&] { out.append("b", &byte, 1); }), HasSubstr("there is no dataset b"));
    EXPECT_THAT(error_of([&] { out.append("a", {"text"}); }), HasSubstr("dataset a: expected u8, got strings"));
    const float value = 0;
    EXPECT_THAT(error_of([&] { out.append("a", &value, 1); }), HasSubstr("dataset a: expected u8, got f32"));
    out.strings("s");
    EXPECT_THAT(error_of([&] { out.append("s", {std::string("a\0b", 3)}); }), HasSubstr("NUL"));
}

TEST(Hdf5, what_is_no_file_of_this_kind_is_named) {
    Scratch w;
    EXPECT_THAT(error_of([&] { Hdf5Reader in(w.path("missing.h5")); }), HasSubstr("No such file"));
    EXPECT_THAT(error_of([&] { Hdf5Reader in(w.folder()); }), HasSubstr("is a folder"));
    w.put("text.h5", ">chr1\nACGT\n");
    EXPECT_THAT(error_of([&] { Hdf5Reader in(w.path("text.h5")); }), HasSubstr("text.h5: is not an HDF5 file"));
    w.put("empty.h5", "");
    EXPECT_THAT(error_of([&] { Hdf5Reader in(w.path("empty.h5")); }), HasSubstr("is not an HDF5 file"));
    EXPECT_THAT(error_of([&] { Hdf5Writer out(w.path("no/such/folder.h5")); }), HasSubstr("does not exist"));
    EXPECT_FALSE(looks_like_hdf5(w.path("text.h5")) || looks_like_hdf5(w.folder()) || looks_like_hdf5("-"));
}

TEST(Hdf5, damage_is_an_error_and_prints_nothing) {
    Scratch w;
    write_every_kind(w.path("all.h5"));
    EXPECT_TRUE(looks_like_hdf5(w.path("all.h5")));
    const std::string whole = w.get("all.h5");
    testing::internal::CaptureStderr();
    w.put("cut.h5", whole.substr(0, whole.size() / 2));
    EXPECT_THAT(error_of([&] { Hdf5Reader in(w.path("cut.h5")); }),
                AllOf(HasSubstr("cut.h5"), HasSubstr("truncated"), HasSubstr("copy or write it again"),
                      Not(HasSubstr("\n"))));
    // A bit in the middle of every sixteenth of the file: whatever is still read is what was written.
    int64_t n_errors = 0;
    for (size_t i = 0; i < 16; ++i) {
        std::string damaged = whole;
        damaged[whole.size() * (2 * i + 1) / 32] ^= 4;
        w.put("damaged.h5", damaged);
        try {
            const Hdf5Reader in(w.path("damaged.h5"));
            EXPECT_EQ(in.read_all<uint8_t>("bytes"), ramp<uint8_t>(kRows));
            EXPECT_EQ(in.read_all<uint16_t>("words"), ramp<uint16_t>(kRows));
            EXPECT_EQ(in.read_all<int64_t>("deep/er/offsets"), ramp<int64_t>(kRows));
            EXPECT_EQ(in.read_all<float>("rows"), ramp<float>(kRows * 7));
            EXPECT_EQ(in.read_all<double>("exact"), ramp<double>(kRows * 3));
            in.read_strings("name", 0, 40002);
        } catch (const Error&) {
            ++n_errors;
        }
    }
    EXPECT_GE(n_errors, 8);  // the others lie between datasets and in strings
    // Free space of no size in a heap of strings: the library itself would walk on the spot for ever.
    const size_t heap = whole.find("GCOL");
    ASSERT_NE(heap, std::string::npos);
    std::string damaged = whole;
    std::fill_n(damaged.begin() + static_cast<int64_t>(heap) + 16, 16, '\0');
    w.put("damaged.h5", damaged);
    EXPECT_THAT(error_of([&] { Hdf5Reader(w.path("damaged.h5")).read_strings("name", 0, 1); }),
                HasSubstr("its strings are damaged"));
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// Files may grow to so many bytes while it lives, as on a disk that fills up.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t most) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit now{most, old_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &now);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    void (*handler_)(int);
    rlimit old_{};
};

TEST(Hdf5, a_full_disk_is_an_error_that_leaves_nothing) {
    Scratch w;
    const std::vector<uint8_t> block = ramp<uint8_t>(1 << 20);
    testing::internal::CaptureStderr();
    {
        const FileSizeLimit limit(3 << 20);
        Hdf5Writer out(w.path("big.h5"));
        out.dataset("bytes", {DType::u8});
        EXPECT_EQ(error_of([&] {
                      for (int i = 0; i < 8; ++i) out.append("bytes", block.data(), 1 << 20);
                      out.commit();
                  }),
                  "[write] " + w.path("big.h5") + ": File too large; hint: raise the limit on file sizes (ulimit -f) or "
                  "choose another disk");
    }
    EXPECT_EQ(w.n_files(), 0);
    write_every_kind(w.path("all.h5"));  // the library is still of use
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace adder
