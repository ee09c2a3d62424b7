#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/rng.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string pack(std::string header, std::string_view data, uint64_t length = UINT64_MAX) {
    if (length == UINT64_MAX) length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    return file + header + std::string(data);
}

Tensor iota(DType dtype, const Shape& shape) {
    Tensor t(dtype, shape);
    for (int64_t i = 0; i < t.ref().bytes(); ++i) {
        static_cast<uint8_t*>(t.ref().data)[i] = static_cast<uint8_t>(i * 37 + 11);
    }
    return t;
}

void write_two(const std::string& path) {
    AtomicFile file(path);
    const std::vector<SafetensorsWriter::Spec> specs{{"b.weight", DType::f32, {2, 3}},
                                                     {"a", DType::u8, {5}},
                                                     {"none", DType::f32, {0, 4}},
                                                     {"step", DType::i64, {}}};
    SafetensorsWriter out(file, specs, {{"format", "pt"}, {"note", "\"quoted\"\n"}});
    out.write("b.weight", iota(DType::f32, {2, 3}));
    out.write("a", iota(DType::u8, {5}));
    out.write("none", Tensor(DType::f32, {0, 4}));
    out.write("step", iota(DType::i64, {1}));
    out.finish();
    file.commit();
}

TEST(Safetensors, what_is_written_is_read) {
    Scratch w;
    write_two(w.path("t"));
    const SafetensorsReader in(w.path("t"));
    ASSERT_EQ(in.entries().size(), 4u);
    EXPECT_EQ(in.entries()[0].name, "b.weight");
    EXPECT_EQ(in.entries()[0].shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(in.metadata().at("note"), "\"quoted\"\n");
    EXPECT_TRUE(in.find("step")->shape.empty());
    EXPECT_EQ(in.find("nothing"), nullptr);
    for (const char* name : {"b.weight", "a", "none", "step"}) {
        const SafetensorsEntry& entry = *in.find(name);
        Tensor to(entry.dtype, {entry.numel()});
        in.read(name, to);
        const Tensor want = iota(entry.dtype, {entry.numel()});
        EXPECT_EQ(std::memcmp(to.ref().data, want.ref().data, static_cast<size_t>(to.ref().bytes())), 0)
            << name;
    }
}

TEST(Safetensors, the_layout_is_the_documented_one) {
    Scratch w;
    write_two(w.path("t"));
    const std::string file = w.get("t");
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    EXPECT_EQ(length % 8, 0u);
    EXPECT_EQ(file[8], '{');
    EXPECT_THAT(file, HasSubstr(R"("b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]})"));
    EXPECT_THAT(file, HasSubstr(R"("step":{"dtype":"I64","shape":[],"data_offsets":[29,37]})"));
    EXPECT_EQ(file.size(), 8 + length + 24 + 5 + 8);
}

TEST(Safetensors, every_dtype_of_ours_makes_the_round_trip) {
    Scratch w;
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u16, DType::u8}) {
        AtomicFile file(w.path("t"));
        SafetensorsWriter out(file, std::vector<SafetensorsWriter::Spec>{{"x", dtype, {3}}});
        out.write("x", iota(dtype, {3}));
        out.finish();
        file.commit();
        Tensor to(dtype, {3});
        SafetensorsReader(w.path("t")).read("x", to);
        const Tensor want = iota(dtype, {3});
        EXPECT_EQ(std::memcmp(to.ref().data, want.ref().data, static_cast<size_t>(to.ref().bytes())), 0);
    }
}

TEST(Safetensors, foreign_types_are_listed_but_not_read_as_ours) {
    Scratch w;
    const SafetensorsReader in(
        w.put("t", pack(R"({"h":{"dtype":"F16","shape":[1,1,1,1,2],"data_offsets":[0,4]}})", "abcd")));
    EXPECT_EQ(in.entries()[0].dtype, DType::none);
    EXPECT_EQ(in.bytes(in.entries()[0]).size(), 4u);
    Tensor to(DType::f32, {2});
    EXPECT_THAT(error_of([&] { in.read("h", to); }), AllOf(HasSubstr("F16"), HasSubstr("f32 (2)")));
}

TEST(Safetensors, a_wrong_name_type_or_size_in_read_is_an_error_naming_both) {
    Scratch w;
    write_two(w.path("t"));
    const SafetensorsReader in(w.path("t"));
    EXPECT_THAT(error_of([&] { in.read("c", Tensor(DType::f32, {6})); }), HasSubstr("no tensor c"));
    EXPECT_THAT(error_of([&] { in.read("b.weight", Tensor(DType::f64, {6})); }),
                AllOf(HasSubstr("f64 (6)"), HasSubstr("F32 [2,3]"), HasSubstr(w.path("t"))));
    EXPECT_THAT(error_of([&] { in.read("b.weight", Tensor(DType::f32, {2, 2})); }), HasSubstr("b.weight"));
}

TEST(Safetensors, names_that_cannot_be_written_are_errors) {
    Scratch w;
    using Specs = std::vector<SafetensorsWriter::Spec>;
    for (const Specs& specs : {Specs{{"a", DType::u8, {1}}, {"a", DType::u8, {1}}},
                               Specs{{"", DType::u8, {1}}}, Specs{{"__metadata__", DType::u8, {1}}}}) {
        AtomicFile file(w.path("t"));
        EXPECT_THAT(error_of([&] { SafetensorsWriter out(file, specs); }), HasSubstr("twice"));
    }
}

TEST(Safetensors, every_way_to_be_malformed_is_an_error_naming_file_and_tensor) {
    Scratch w;
    const std::string good = R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
    EXPECT_EQ(SafetensorsReader(w.put("good", pack(good, "abcd"))).entries().size(), 1u);
    EXPECT_TRUE(SafetensorsReader(w.put("none", pack("{}", ""))).entries().empty());
    auto entry = [](const char* rest) { return fmt::format(R"({{"x":{{{}}}}})", rest); };
    auto typed = [&](const char* shape, const char* offsets, const char* dtype = "U8") {
        return fmt::format(R"({{"x":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
    };
    struct Case {
        std::string bytes;
        const char* says;
    };
    const Case cases[] = {
        {"", "too few"},
        {"1234567", "too few"},
        {pack(good, "abcd", 200), "header should have 200 bytes"},
        {pack(good, "abcd", UINT64_MAX - 1), "header should have"},
        {pack("", ""), "not valid JSON"},
        {pack("[1]", ""), "not a JSON object"},
        {pack("null", ""), "not a JSON object"},
        {pack("{\"x\":", ""), "not valid JSON"},
        {pack("{\"\xff\":1}", ""), "not valid JSON"},
        {pack(good.substr(0, good.size() - 1), "abcd"), "not valid JSON"},
        {pack(good + "{}", "abcd"), "not valid JSON"},
        {pack(std::string(50'000, '['), ""), "nested too deeply"},
        {pack(R"({"x":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", "a"), "nested too deeply"},
        {pack(R"({"x":1})", ""), "\"x\": expected exactly"},
        {pack(entry(R"("dtype":"U8","shape":[4])"), "abcd"), "\"x\": expected exactly"},
        {pack(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4],"z":1)"), "abcd"),
         "\"x\": expected exactly"},
        {pack(entry(R"("dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4])"), "abcd"),
         "occurs twice"},
        {pack(entry(R"("dtype":7,"shape":[4],"data_offsets":[0,4])"), "abcd"), "dtype is not a string"},
        {pack(typed("[4]", "[0,4]", "Q8"), "abcd"), "unknown dtype"},
        {pack(typed("4", "[0,4]"), "abcd"), "shape is not a list"},
        {pack(typed("[-4]", "[0,4]"), "abcd"), "not a size"},
        {pack(typed("[4.0]", "[0,4]"), "abcd"), "not a size"},
        {pack(typed("[\"4\"]", "[0,4]"), "abcd"), "not a size"},
        {pack(typed("[18446744073709551615]", "[0,4]"), "abcd"), "not a size"},
        {pack(typed("[99999999999999999999]", "[0,4]"), "abcd"), "not a size"},
        {pack(typed("[4294967296,4294967296]", "[0,4]"), "abcd"), "overflows"},
        {pack(typed("[4]", "[0]"), "abcd"), "not two sizes"},
        {pack(typed("[4]", "[-1,3]"), "abcd"), "not two sizes"},
        {pack(typed("[4]", "{\"0\":1}"), "abcd"), "not two sizes"},
        {pack(typed("[4]", "[4,0]"), "abcd"), "takes 4 bytes"},
        {pack(typed("[3]", "[0,4]"), "abcd"), "takes 3 bytes"},
        {pack(typed("[4]", "[0,4]", "F32"), "abcd"), "takes 16 bytes"},
        {pack(typed("[4]", "[9223372036854775803,9223372036854775807]"), "abcd"), "hole"},
        {pack(typed("[4]", "[1,5]"), "abcde"), "hole"},
        {pack(good, "abc"), "cut short"},
        {pack(good, "abcde"), "1 bytes after the last tensor"},
        {pack(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
              R"("y":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
              "abcde"),
         "\"y\": its bytes begin at 3, those before end at 4 (overlap)"},
        {pack(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
              R"("x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
              "ab"),
         "occurs twice"},
        {pack(R"({"__metadata__":[]})", ""), "not an object"},
        {pack(R"({"__metadata__":{"a":1}})", ""), "not a string"},
    };
    for (const Case& c : cases) {
        const std::string path = w.put("bad", c.bytes);
        const std::string what = error_of([&] { SafetensorsReader in(path); });
        EXPECT_THAT(what, AllOf(HasSubstr(c.says), HasSubstr(path)));
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

TEST(Safetensors, every_cut_of_a_file_is_an_error) {
    Scratch w;
    write_two(w.path("t"));
    const std::string whole = w.get("t");
    for (size_t n = 0; n < whole.size(); ++n) {
        const std::string path = w.put("cut", whole.substr(0, n));
        EXPECT_THROW(SafetensorsReader in(path), Error) << n << " of " << whole.size() << " bytes";
    }
}

// Whatever the bytes are, the reader throws an Error or gives spans inside the file.
TEST(Safetensors, damaged_bytes_never_lead_outside_the_file) {
    Scratch w;
    write_two(w.path("t"));
    const std::string whole = w.get("t");
    const Philox rng(7, Stream::test);
    int64_t accepted = 0, refused = 0;
    for (uint64_t k = 0; k < 1500; ++k) {
        std::string bytes = whole;
        const uint64_t n_edits = 1 + rng.below(3, k, 0);
        for (uint32_t e = 0; e < n_edits; ++e) {
            const auto at = static_cast<size_t>(rng.below(bytes.size(), k, 3 * e + 1));
            const char likely = "0123456789{}[],:\"-e. "[rng.below(21, k, 3 * e + 2)];
            const char value =
                rng.below(2, k, 200 + e) ? likely : static_cast<char>(rng.below(256, k, 3 * e + 3));
            switch (rng.below(8, k, 100 + e)) {
                case 0:
                    bytes.erase(at, 1);
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
            const SafetensorsReader in(path);
            uint8_t sum = 0;
            for (const SafetensorsEntry& entry : in.entries()) {
                for (const std::byte b : in.bytes(entry))
                    sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
            }
            ++accepted;
        } catch (const Error& e) {
            ++refused;
            EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
        }
    }
    EXPECT_GT(accepted, 50);
    EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace adder
