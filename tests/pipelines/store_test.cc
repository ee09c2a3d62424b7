#include "pipelines/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <tuple>

#include "core/interrupted.h"
#include "core/rng.h"
#include "io/hdf5.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr PackedAlphabet kPacked{{0, 1, 2, 3}, 8};

// Four letters, runs of a fifth, flagged halves; every third record has a class, a label and a group.
std::vector<TokenRecord> some_records(int n, uint64_t seed) {
    const Philox random(seed, Stream::windows);
    std::vector<TokenRecord> records;
    for (int r = 0; r < n; ++r) {
        TokenRecord record;
        record.name = fmt::format("record {} of {}", r, seed);
        const auto row = static_cast<uint64_t>(r);
        const uint64_t length = r == 0 ? 1 : random.u64(row, 0) % 5000;
        for (uint64_t i = 0; i < length; ++i) {
            const uint64_t letter = i / 100 % 7 == 3 ? 4 : random.u64(row, 1 + static_cast<uint32_t>(i)) % 4;
            record.symbols.push_back(static_cast<uint8_t>(letter | (i / 300 % 2 ? 8 : 0)));
        }
        if (r % 3 == 0) std::tie(record.class_token, record.label, record.group) = std::tuple(r, "label", "grüp");
        record.file = r % 2;
        record.is_read = seed % 2 == 0 && r % 4 == 1;
        records.push_back(std::move(record));
    }
    return records;
}

Dataset some_data(int n, uint64_t seed) {
    Dataset data;
    data.records = some_records(n, seed);
    data.files = {"/data/one.fa", "two.fa"};
    data.classes = {"zero", "one"};
    data.report = {"two files"};
    data.digest = digest_of(data.records);
    data.train = whole_records(data.records);
    return data;
}

void expect_same(std::span<const TokenRecord> a, std::span<const TokenRecord> b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].name, b[i].name);
        EXPECT_TRUE(a[i].symbols == b[i].symbols) << "record " << i;
        EXPECT_EQ(a[i].class_token, b[i].class_token);
        EXPECT_EQ(a[i].is_read, b[i].is_read);
        EXPECT_EQ(a[i].label, b[i].label);
        EXPECT_EQ(a[i].group, b[i].group);
        EXPECT_EQ(a[i].file, b[i].file);
    }
}

// Of segments, with their records moved by so many: comparable.
std::vector<std::array<int64_t, 3>> listed(std::span<const Segment> segments, int64_t moved = 0) {
    std::vector<std::array<int64_t, 3>> rows;
    for (const Segment& s : segments) rows.push_back({s.record + moved, s.begin, s.end});
    return rows;
}

const StoreOptions kBytes{"tones", {{"rate", 8000}}}, kTwoBits{"tones", {{"rate", 8000}}, &kPacked};

TEST(Store, what_is_stored_is_read) {
    Scratch w;
    for (const StoreOptions* options : {&kBytes, &kTwoBits}) {
        for (const int n : {0, 1, 40}) {
            const Dataset data = some_data(n, 1);
            write_store(w.path("s.h5"), data, *options);
            std::vector<TokenRecord> records;
            StoredParts parts;
            const StoreInfo info = read_store(w.path("s.h5"), "tones", records, parts);
            expect_same(records, data.records);
            EXPECT_TRUE(parts.held_out.empty() && parts.split_by.empty() && !info.is_split);
            EXPECT_EQ(info.sources, data.files);
            EXPECT_EQ(info.classes, data.classes);
            EXPECT_EQ(info.report, data.report);
            EXPECT_EQ(info.settings, options->settings);
            EXPECT_EQ(info.digest, data.digest);
            EXPECT_EQ(store_info(w.path("s.h5"), "tones").n_records, n);
        }
    }
}

TEST(Store, one_that_is_stopped_leaves_nothing) {
    Scratch w;
    const Dataset data = some_data(40, 1);
    for (StoreOptions options : {kBytes, kTwoBits}) {
        std::atomic<bool> stop{true};
        options.stop = &stop;
        EXPECT_THROW(write_store(w.path("s.h5"), data, options), Interrupted);
        EXPECT_EQ(w.n_files(), 0);
        stop = false;
        write_store(w.path("s.h5"), data, options);
        EXPECT_EQ(w.n_files(), 1);
        std::filesystem::remove(w.path("s.h5"));
    }
}

TEST(Store, parts_and_held_out_records_come_back_as_they_were) {
    Scratch w;
    Dataset first = some_data(10, 1), second = some_data(7, 2);
    const Split split = split_records(first.records, first.files, {.valid_fraction = 0.2, .test_fraction = 0.1, .gap = 5});
    std::tie(first.train, first.valid, first.test) = std::tie(split.train, split.valid, split.test);
    first.split_digest = digest_of(split, first.records);
    const std::span<const TokenRecord> all(second.records);
    second.digest = digest_of(all.first(4));
    second.valid_digest = digest_of(all.subspan(4));
    second.n_held_out = 3;
    write_store(w.path("1.h5"), first, kTwoBits);
    write_store(w.path("2.h5"), second, kTwoBits);
    std::vector<TokenRecord> records = some_records(3, 5);
    StoredParts parts;
    read_store(w.path("2.h5"), "tones", records, parts);
    expect_same(parts.held_out, all.subspan(4));
    EXPECT_EQ(parts.split_by, w.path("2.h5"));
    read_store(w.path("1.h5"), "tones", records, parts);
    expect_same(std::span(records).subspan(7), first.records);
    EXPECT_EQ(listed(parts.split.train), listed(split.train, 7));
    EXPECT_EQ(listed(parts.split.valid), listed(split.valid, 7));
    EXPECT_EQ(listed(parts.split.test), listed(split.test, 7));
    EXPECT_EQ(parts.split.n_unused, split.n_unused);
}

TEST(Store, four_letters_take_two_bits_each) {
    Scratch w;
    Dataset data;
    data.records.resize(1);
    const Philox random(3, Stream::windows);
    for (uint64_t i = 0; i < 1 << 20; ++i) data.records[0].symbols.push_back(random.u64(i, 0) % 4);
    data.files = {"one"};
    data.digest = digest_of(data.records);
    write_store(w.path("s.h5"), data, kTwoBits);
    EXPECT_LT(w.get("s.h5").size(), (1 << 18) + 20000);
}

TEST(Store, what_is_no_store_of_the_domain_is_named) {
    Scratch w;
    std::vector<TokenRecord> records;
    StoredParts parts;
    const std::string path = w.path("s.h5");
    {
        Hdf5Writer out(path);
        out.dataset("embedding", {DType::f32, 3});
        out.commit();
    }
    EXPECT_THAT(error_of([&] { store_info(path, "tones"); }), HasSubstr("s.h5: is an HDF5 file but no token store"));
    {
        Hdf5Writer out(path);
        out.attribute("/", "format", "adder token store");
        out.attribute("/", "version", int64_t{2});
        out.commit();
    }
    EXPECT_THAT(error_of([&] { store_info(path, "tones"); }), HasSubstr("s.h5: has format version 2, this adder reads up to 1"));
    {
        Hdf5Writer out(path);
        out.attribute("/", "format", "adder token store");
        out.attribute("/", "version", int64_t{1});
        out.commit();
    }
    EXPECT_THAT(error_of([&] { store_info(path, "tones"); }), HasSubstr("there is no dataset meta"));
    write_store(path, some_data(3, 1), kBytes);
    EXPECT_THAT(error_of([&] { read_store(path, "dna", records, parts); }),
                HasSubstr("records of domain tones, expected dna"));
    EXPECT_TRUE(records.empty());
}

TEST(Store, damage_is_one_line_or_changes_nothing) {
    Scratch w;
    for (const StoreOptions* options : {&kBytes, &kTwoBits}) {
        Dataset data = some_data(20, 1);
        const Split split = split_records(data.records, data.files, {.valid_fraction = 0.2});
        data.train = split.train, data.valid = split.valid;
        data.split_digest = digest_of(split, data.records);
        write_store(w.path("s.h5"), data, *options);
        const std::string whole = w.get("s.h5");
        const Philox random(9, Stream::windows);
        testing::internal::CaptureStderr();
        int n_errors = 0;
        const auto try_to_read = [&](std::string_view bytes) {
            w.put("d.h5", bytes);
            try {
                std::vector<TokenRecord> records;
                StoredParts parts;
                read_store(w.path("d.h5"), "tones", records, parts);
                expect_same(records, data.records);
                EXPECT_EQ(listed(parts.split.train), listed(split.train));
                EXPECT_EQ(listed(parts.split.valid), listed(split.valid));
            } catch (const Error& e) {
                EXPECT_THAT(e.what(), AllOf(HasSubstr("d.h5"), HasSubstr("hint"), Not(HasSubstr("\n"))));
                ++n_errors;
            }
        };
        constexpr int kTries = 200;
        for (uint64_t i = 0; i < kTries; ++i) {
            std::string damaged = whole;
            damaged[random.u64(i, 0) % whole.size()] ^= static_cast<char>(1 << random.u64(i, 1) % 8);
            try_to_read(damaged);
        }
        EXPECT_GT(n_errors, kTries / 2);
        const int before = n_errors;
        for (uint64_t i = 0; i < 50; ++i)
            try_to_read(std::string_view(whole).substr(0, random.u64(i, 2) % whole.size()));
        EXPECT_EQ(n_errors, before + 50);
        EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    }
}

TEST(Store, settings_other_than_those_of_the_symbols_are_refused) {
    const nlohmann::json stored = {{"rate", 8000}, {"codec", "mulaw"}}, defaults = {{"rate", nullptr}, {"codec", "mulaw"}};
    check_settings("s.h5", stored, defaults, defaults);
    check_settings("s.h5", stored, {{"rate", 8000}, {"codec", "mulaw"}}, defaults);
    EXPECT_THAT(error_of([&] { check_settings("s.h5", stored, {{"rate", 16000}}, defaults); }),
                HasSubstr("s.h5: was prepared with --rate 8000, not 16000"));
}

TEST(Store, that_is_stopped_leaves_nothing) {
    Scratch w;
    const std::atomic<bool> stop{true};
    StoreOptions options = kTwoBits;
    options.stop = &stop;
    EXPECT_THROW(write_store(w.path("s.h5"), some_data(3, 1), options), Interrupted);
    EXPECT_EQ(w.n_files(), 0);
}

}  // namespace
}  // namespace adder
