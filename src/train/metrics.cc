#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "core/error.h"
#include "core/log.h"

namespace adder {

namespace {

[[noreturn]] void fail_system(const std::string& path, const char* doing) {
    const int error = errno;
    fail("{}: cannot {}: {}{}", path, doing, std::strerror(error),
         error == ENOSPC ? "; hint: free some space and pass --resume" : "");
}

}  // namespace

AppendFile::AppendFile(std::string path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) fail_system(path_, "open");
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;  // some file systems have no locks
    ::close(fd_);
    fail("{}: another process is writing it; hint: wait for that run, or choose another --out", path_);
}

AppendFile::~AppendFile() {
    if (fd_ >= 0) ::close(fd_);
}

void AppendFile::append(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_system(path_, "write");
        bytes.remove_prefix(static_cast<size_t>(n));
    }
}

void AppendFile::cut(int64_t bytes) {
    if (::ftruncate(fd_, bytes) != 0) fail_system(path_, "shorten");
}

void AppendFile::sync() {
    if (::fsync(fd_) != 0) fail_system(path_, "sync");
}

// ---- metrics.jsonl ----

namespace {

using Buffer = fmt::basic_memory_buffer<char, 512>;  // a row fits, so writing one allocates nothing

void add_number(Buffer& to, const char* key, double value) {
    if (std::isfinite(value))
        fmt::format_to(std::back_inserter(to), ", \"{}\": {}", key, value);
    else
        fmt::format_to(std::back_inserter(to), ", \"{}\": null", key);
}

struct Kept {
    int64_t bytes = 0;
    int64_t step = 0;  // of the last row
};

// The leading rows of `path` up to these steps.
Kept rows_up_to(const std::string& path, int64_t last_step, int64_t evaluated_step) {
    Kept kept;
    std::ifstream file(path, std::ios::binary);
    std::string line;
    for (int64_t number = 1; std::getline(file, line); ++number) {
        if (file.eof()) break;  // no newline: the process died while writing this row
        const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
        const auto step = row.is_object() ? row.find("step") : row.end();
        if (!row.is_object() || step == row.end() || !step->is_number_integer())
            fail("{} line {}: not a row of metrics: {:.60}", path, number, line);
        const bool evaluation = row.contains("valid_loss");
        if (step->get<int64_t>() > (evaluation ? evaluated_step : last_step)) break;
        kept.step = step->get<int64_t>();
        kept.bytes += static_cast<int64_t>(line.size()) + 1;
    }
    return kept;
}

}  // namespace

MetricsLog::MetricsLog(const std::string& folder, int64_t last_step, int64_t evaluated_step)
    : file_(folder + "/metrics.jsonl") {
    const Kept kept = last_step > 0 || evaluated_step >= 0 ? rows_up_to(file_.path(), last_step, evaluated_step) : Kept{};
    if (kept.step < last_step)
        log_warning("{}: rows after step {} and up to {} are missing", file_.path(), kept.step, last_step);
    file_.cut(kept.bytes);
}

void MetricsLog::write(const StepMetrics& m) {
    Buffer row;
    fmt::format_to(std::back_inserter(row), "{{\"step\": {}", m.step);
    add_number(row, "loss", m.loss);
    add_number(row, "grad_norm", m.grad_norm);
    add_number(row, "lr", m.lr);
    fmt::format_to(std::back_inserter(row), ", \"tokens\": {}", m.tokens);
    add_number(row, "tokens_per_s", m.tokens_per_s);
    fmt::format_to(std::back_inserter(row), "}}\n");
    file_.append({row.data(), row.size()});
}

void MetricsLog::write(const EvalMetrics& m) {
    Buffer row;
    fmt::format_to(std::back_inserter(row), "{{\"step\": {}", m.step);
    add_number(row, "valid_loss", m.valid_loss);
    if (m.of_classes()) {
        add_number(row, "valid_accuracy", m.accuracy);
        add_number(row, "valid_macro_f1", m.macro_f1);
        add_number(row, "valid_mcc", m.mcc);
    } else {
        add_number(row, "valid_bits_per_token", m.valid_loss / std::numbers::ln2);
    }
    fmt::format_to(std::back_inserter(row), "}}\n");
    file_.append({row.data(), row.size()});
}

// ---- TensorBoard ----
// Events in protobuf's wire format (tensorboard/compat/proto/event.proto and summary.proto, field numbers beside the
// calls below), each in a TFRecord frame: length u64, its masked CRC-32C, the bytes, their masked CRC-32C.

namespace {

constexpr std::array<uint32_t, 256> kCrcTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0u);  // Castagnoli, reflected
        table[i] = c;
    }
    return table;
}();

uint32_t masked_crc32c(std::string_view bytes) {
    uint32_t c = ~0u;
    for (const char byte : bytes) c = kCrcTable[(c ^ static_cast<unsigned char>(byte)) & 0xff] ^ (c >> 8);
    c = ~c;
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

template <class T>
void add_fixed(Buffer& to, T value) {
    static_assert(std::endian::native == std::endian::little);
    const char* bytes = reinterpret_cast<const char*>(&value);
    to.append(bytes, bytes + sizeof value);
}

enum Wire : uint32_t { kVarint = 0, kDouble = 1, kBytes = 2, kFloat = 5 };

void add_varint(Buffer& to, uint64_t value) {
    for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
    to.push_back(static_cast<char>(value));
}
void add_key(Buffer& to, uint32_t field, Wire wire) { add_varint(to, field << 3 | wire); }
void add_bytes(Buffer& to, uint32_t field, std::string_view bytes) {
    add_key(to, field, kBytes);
    add_varint(to, bytes.size());
    to.append(bytes.data(), bytes.data() + bytes.size());
}
std::string_view view(const Buffer& b) { return {b.data(), b.size()}; }

// An Event so far: wall_time = 1 and step = 2.
Buffer event_at(int64_t step) {
    Buffer event;
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    add_key(event, 1, kDouble);
    add_fixed(event, now.count());
    add_key(event, 2, kVarint);
    add_varint(event, static_cast<uint64_t>(step));
    return event;
}

// Summary.value = 1 {tag = 1, simple_value = 2}.
void add_scalar(Buffer& summary, std::string_view tag, double value) {
    Buffer scalar;
    add_bytes(scalar, 1, tag);
    add_key(scalar, 2, kFloat);
    add_fixed(scalar, static_cast<float>(value));
    add_bytes(summary, 1, view(scalar));
}

void append_record(AppendFile& file, const Buffer& event) {
    Buffer record;
    add_fixed(record, static_cast<uint64_t>(event.size()));
    add_fixed(record, masked_crc32c(view(record)));
    record.append(event.data(), event.data() + event.size());
    add_fixed(record, masked_crc32c(view(event)));
    file.append(view(record));
}

void append_summary(AppendFile& file, int64_t step, const Buffer& summary) {
    Buffer event = event_at(step);
    add_bytes(event, 5, view(summary));
    append_record(file, event);
}

constexpr std::string_view kEventPrefix = "events.out.tfevents.";

// TensorBoard reads the files of a folder in the order of their names: seconds since 1970 come first in them.
std::string new_event_path(const std::string& folder) {
    int64_t number = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch()).count();
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (name.rfind(kEventPrefix, 0) == 0)
            number = std::max<int64_t>(number, std::strtoll(name.c_str() + kEventPrefix.size(), nullptr, 10) + 1);
    }
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
    return fmt::format("{}/{}{:010}.{}.{}", folder, kEventPrefix, number, host.data(), ::getpid());
}

}  // namespace

EventFile::EventFile(const std::string& folder, int64_t last_step) : file_(new_event_path(folder)) {
    Buffer version = event_at(0);
    add_bytes(version, 3, "brain.Event:2");  // file_version
    append_record(file_, version);
    Buffer start = event_at(last_step > 0 ? last_step + 1 : 0);
    add_bytes(start, 7, "\x08\x01");  // session_log {status = 1: START}
    append_record(file_, start);
}

void EventFile::write(const StepMetrics& m) {
    Buffer summary;
    add_scalar(summary, "loss/train", m.loss);
    add_scalar(summary, "grad_norm", m.grad_norm);
    add_scalar(summary, "lr", m.lr);
    add_scalar(summary, "tokens_per_s", m.tokens_per_s);
    append_summary(file_, m.step, summary);
}

void EventFile::write(const EvalMetrics& m) {
    Buffer summary;
    add_scalar(summary, "loss/valid", m.valid_loss);
    if (m.of_classes()) {
        add_scalar(summary, "accuracy/valid", m.accuracy);
        add_scalar(summary, "macro_f1/valid", m.macro_f1);
        add_scalar(summary, "mcc/valid", m.mcc);
    }
    append_summary(file_, m.step, summary);
}

}  // namespace adder
