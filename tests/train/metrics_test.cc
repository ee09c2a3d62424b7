#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "core/error.h"

namespace adder {
namespace {

namespace fs = std::filesystem;

class Folder {
  public:
    Folder() {
        std::string pattern = (fs::temp_directory_path() / "metrics_XXXXXX").string();
        if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
        path_ = pattern;
    }
    ~Folder() { fs::remove_all(path_); }
    std::string path() const { return path_; }
    std::string log() const { return path_ + "/metrics.jsonl"; }
    std::vector<std::string> events() const {
        std::vector<std::string> names;
        for (const auto& e : fs::directory_iterator(path_))
            if (e.path().filename().string().rfind("events.", 0) == 0) names.push_back(e.path().string());
        std::sort(names.begin(), names.end());
        return names;
    }

  private:
    std::string path_;
};

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

void append_raw(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

StepMetrics row(int64_t step) {
    return {.step = step, .loss = 1.0 / static_cast<double>(step), .grad_norm = 0.1, .lr = 1e-5,
            .tokens = step * 4096, .tokens_per_s = 12345.678};
}

// Writes rows 1..n, with an evaluation at every fifth.
void write_rows(MetricsLog& log, int64_t from, int64_t to) {
    for (int64_t step = from; step <= to; ++step) {
        log.write(row(step));
        if (step % 5 == 0) log.write(EvalMetrics{.step = step, .valid_loss = 1.5});
    }
}

TEST(MetricsLog, numbers_read_back_as_the_same_doubles) {
    Folder folder;
    MetricsLog log(folder.path(), 0, 0);
    const StepMetrics m{.step = 7, .loss = 1.3862943611198906, .grad_norm = 4.9406564584124654e-324,
                        .lr = 0.1 + 0.2, .tokens = (int64_t{1} << 53) + 1, .tokens_per_s = 1e300};
    log.write(m);
    log.write(EvalMetrics{.step = 7, .valid_loss = 1.3862943611198906});
    std::stringstream lines(contents(folder.log()));
    std::string line;
    std::getline(lines, line);
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json.size(), 6u);
    EXPECT_EQ(json["step"], 7);
    EXPECT_EQ(json["loss"].get<double>(), m.loss);
    EXPECT_EQ(json["grad_norm"].get<double>(), m.grad_norm);
    EXPECT_EQ(json["lr"].get<double>(), m.lr);
    EXPECT_EQ(json["tokens"].get<int64_t>(), m.tokens);
    EXPECT_EQ(json["tokens_per_s"].get<double>(), m.tokens_per_s);
    std::getline(lines, line);
    const auto eval = nlohmann::json::parse(line);
    EXPECT_EQ(eval.size(), 3u);
    EXPECT_EQ(eval["valid_loss"].get<double>(), 1.3862943611198906);
    EXPECT_DOUBLE_EQ(eval["valid_bits_per_token"].get<double>(), 2.0);
    EXPECT_FALSE(eval.contains("valid_accuracy"));
}

TEST(MetricsLog, an_evaluation_past_the_checkpoint_is_cut_though_its_step_is_kept) {
    Folder folder;
    {
        MetricsLog log(folder.path(), 0, 0);
        write_rows(log, 1, 5);
    }
    MetricsLog log(folder.path(), 5, -1);
    EXPECT_EQ(contents(folder.log()).find("valid_loss"), std::string::npos);
    EXPECT_NE(contents(folder.log()).find("\"step\": 5, \"loss\""), std::string::npos);
}

TEST(MetricsLog, a_number_that_is_not_finite_is_null) {
    Folder folder;
    MetricsLog log(folder.path(), 0, 0);
    StepMetrics m = row(1);
    m.loss = std::numeric_limits<double>::quiet_NaN();
    m.grad_norm = std::numeric_limits<double>::infinity();
    log.write(m);
    const auto json = nlohmann::json::parse(contents(folder.log()));
    EXPECT_TRUE(json["loss"].is_null());
    EXPECT_TRUE(json["grad_norm"].is_null());
}

TEST(MetricsLog, resuming_cuts_later_rows_and_rewrites_no_earlier_byte) {
    Folder folder;
    std::string first_ten;
    {
        MetricsLog log(folder.path(), 0, 0);
        write_rows(log, 1, 10);
        first_ten = contents(folder.log());
        write_rows(log, 11, 13);
    }
    {
        MetricsLog log(folder.path(), 10, 10);
        EXPECT_EQ(contents(folder.log()), first_ten);
        write_rows(log, 11, 12);
    }
    EXPECT_THAT(contents(folder.log()), testing::StartsWith(first_ten));
    Folder straight;
    MetricsLog log(straight.path(), 0, 0);
    write_rows(log, 1, 12);
    EXPECT_EQ(contents(folder.log()), contents(straight.log()));
}

TEST(MetricsLog, a_kill_at_any_byte_leaves_a_log_that_resumes) {
    Folder folder;
    {
        MetricsLog log(folder.path(), 0, 0);
        write_rows(log, 1, 7);
    }
    const std::string whole = contents(folder.log());
    std::string five = whole;
    for (int lines = 0; lines < 2; ++lines) five.erase(five.rfind('\n', five.size() - 2) + 1);  // drop rows 6 and 7
    for (size_t bytes = five.size(); bytes <= whole.size(); ++bytes) {
        fs::remove(folder.log());
        append_raw(folder.log(), whole.substr(0, bytes));
        MetricsLog log(folder.path(), 5, 5);
        ASSERT_EQ(contents(folder.log()), five) << bytes;
        write_rows(log, 6, 7);
        ASSERT_EQ(contents(folder.log()), whole) << bytes;
    }
}

TEST(MetricsLog, starting_over_empties_the_log) {
    Folder folder;
    { MetricsLog log(folder.path(), 0, 0); write_rows(log, 1, 3); }
    MetricsLog log(folder.path(), 0, 0);
    EXPECT_EQ(contents(folder.log()), "");
}

TEST(MetricsLog, a_damaged_row_before_the_cut_is_an_error_that_names_it) {
    Folder folder;
    { MetricsLog log(folder.path(), 0, 0); write_rows(log, 1, 2); }
    append_raw(folder.log(), "{\"step\": 3, \"los\n");
    try {
        MetricsLog log(folder.path(), 9, 9);
        FAIL() << "opened";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("metrics.jsonl line 3"));
    }
}

TEST(MetricsLog, two_runs_cannot_write_one_log) {
    Folder folder;
    MetricsLog log(folder.path(), 0, 0);
    EXPECT_THROW(MetricsLog(folder.path(), 0, 0), Error);
}

TEST(MetricsLog, a_missing_folder_is_an_error_that_names_the_file) {
    try {
        MetricsLog log("/nonexistent/folder", 0, 0);
        FAIL() << "opened";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("/nonexistent/folder/metrics.jsonl"));
    }
}

// ---- an independent reader of event files ----

uint32_t crc32c_bitwise(const std::string& bytes) {
    uint32_t c = 0xffffffff;
    for (const char byte : bytes) {
        c ^= static_cast<unsigned char>(byte);
        for (int i = 0; i < 8; ++i) c = (c & 1) ? (c >> 1) ^ 0x82f63b78 : c >> 1;
    }
    return c ^ 0xffffffff;
}

uint32_t masked(const std::string& bytes) {
    const uint32_t c = crc32c_bitwise(bytes);
    return ((c >> 15) | (c << 17)) + 0xa282ead8;
}

template <class T>
T number_at(const std::string& bytes, size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

// Fields of one protobuf message: number -> raw values (varints as 8 bytes).
std::multimap<uint64_t, std::string> fields_of(const std::string& message) {
    std::multimap<uint64_t, std::string> fields;
    size_t at = 0;
    const auto varint = [&] {
        uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(message.at(at++));
            value |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) return value;
        }
    };
    while (at < message.size()) {
        const uint64_t key = varint();
        uint64_t length = 0;
        switch (key & 7) {
            case 0: {
                const uint64_t value = varint();
                fields.emplace(key >> 3, std::string(reinterpret_cast<const char*>(&value), 8));
                continue;
            }
            case 1: length = 8; break;
            case 2: length = varint(); break;
            case 5: length = 4; break;
            default: throw std::runtime_error("unknown wire type");
        }
        fields.emplace(key >> 3, message.substr(at, length));
        at += length;
    }
    return fields;
}

std::vector<std::multimap<uint64_t, std::string>> events_of(const std::string& path) {
    const std::string bytes = contents(path);
    std::vector<std::multimap<uint64_t, std::string>> events;
    for (size_t at = 0; at < bytes.size();) {
        const auto length = number_at<uint64_t>(bytes, at);
        EXPECT_EQ(number_at<uint32_t>(bytes, at + 8), masked(bytes.substr(at, 8)));
        const std::string data = bytes.substr(at + 12, length);
        EXPECT_EQ(number_at<uint32_t>(bytes, at + 12 + length), masked(data));
        events.push_back(fields_of(data));
        at += 16 + length;
    }
    return events;
}

std::map<std::string, float> scalars_of(const std::multimap<uint64_t, std::string>& event) {
    std::map<std::string, float> scalars;
    for (const auto& [field, value] : fields_of(event.find(5)->second)) {
        EXPECT_EQ(field, 1u);
        const auto scalar = fields_of(value);
        scalars[scalar.find(1)->second] = number_at<float>(scalar.find(2)->second, 0);
    }
    return scalars;
}

int64_t step_of(const std::multimap<uint64_t, std::string>& event) {
    return number_at<int64_t>(event.find(2)->second, 0);
}

TEST(EventFile, the_checksum_is_crc32c) {
    EXPECT_EQ(crc32c_bitwise("123456789"), 0xe3069283u);  // RFC 3720, appendix B.4's polynomial; check value of the CRC
}

TEST(EventFile, frames_hold_the_five_tags) {
    Folder folder;
    {
        EventFile file(folder.path(), 0);
        file.write(row(300));
        file.write(EvalMetrics{.step = 300, .valid_loss = 1.25});
    }
    ASSERT_EQ(folder.events().size(), 1u);
    const auto events = events_of(folder.events()[0]);
    ASSERT_EQ(events.size(), 4u);
    EXPECT_EQ(events[0].find(3)->second, "brain.Event:2");
    EXPECT_EQ(step_of(events[2]), 300);
    const auto train = scalars_of(events[2]);
    EXPECT_EQ(train, (std::map<std::string, float>{{"loss/train", 1.0f / 300}, {"grad_norm", 0.1f}, {"lr", 1e-5f},
                                                   {"tokens_per_s", 12345.678f}}));
    EXPECT_EQ(scalars_of(events[3]), (std::map<std::string, float>{{"loss/valid", 1.25f}}));
}

TEST(EventFile, resuming_opens_a_later_file_that_takes_back_later_steps) {
    Folder folder;
    { EventFile file(folder.path(), 0); file.write(row(1)); }
    const std::string first = folder.events().at(0);
    { EventFile file(folder.path(), 40); file.write(row(41)); }
    ASSERT_EQ(folder.events().size(), 2u);
    EXPECT_EQ(folder.events()[0], first);
    const auto events = events_of(folder.events()[1]);
    EXPECT_EQ(step_of(events[1]), 41);
    const auto session = fields_of(events[1].find(7)->second);
    EXPECT_EQ(number_at<int64_t>(session.find(1)->second, 0), 1);  // SessionLog.START
}

}  // namespace
}  // namespace adder
