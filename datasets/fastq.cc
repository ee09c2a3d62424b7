#include "datasets/fastq.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "datasets/bytes.h"

namespace adder {

namespace {

constexpr size_t kLongestHeader = 1 << 20;
constexpr char kLowestQuality = '!', kHighestQuality = '~';

// 1 for what may stand in a sequence.
const std::array<uint8_t, 256> kSequenceByte = [] {
    std::array<uint8_t, 256> ok{};
    for (int c = 'A'; c <= 'Z'; ++c) ok[static_cast<size_t>(c)] = ok[static_cast<size_t>(c | 0x20)] = 1;
    for (const unsigned char c : {'.', '-', '*'}) ok[c] = 1;
    return ok;
}();

bool is_sequence_byte(char c) {
    return kSequenceByte[static_cast<unsigned char>(c)] != 0;
}
bool is_quality_byte(char c) {
    return c >= kLowestQuality && c <= kHighestQuality;
}

}  // namespace

struct FastqReader::Impl {
    InputFile file;
    const char *at = nullptr, *end = nullptr;  // the unread part of the file's block
    int64_t line = 0, n_records = 0;           // of the line and record being read
    std::string joined;                        // a line that spans blocks
    std::string_view text;                     // the current line, without its end and the blanks before it
    bool pushed_back = false;

    explicit Impl(InputFile f) : file(std::move(f)) {}

    template <class... Args>
    [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
        fail("[reads] {}: {}", file.path(), fmt::format(format, std::forward<Args>(args)...));
    }
    template <class... Args>
    [[noreturn]] void bad(const FastqRecord& r, fmt::format_string<Args...> format, Args&&... args) const {
        bad("record {} ({}), line {}: {}", n_records, r.name, line,
            fmt::format(format, std::forward<Args>(args)...));
    }

    bool fill();
    bool next_line();
    bool next_full_line();
    void push_back() { pushed_back = true; }
    void read_header(FastqRecord& record);
    bool read_sequence(FastqRecord& record);
    void read_qualities(FastqRecord& record, bool is_wrapped);
    void append(const FastqRecord& record, std::string& to, bool (*allowed)(char), const char* expected);
};

// Makes at < end, or returns false at the clean end of the file.
bool FastqReader::Impl::fill() {
    if (at < end) return true;
    const InputFile::Block block = file.next_block();
    if (!block.damage.empty()) bad("record {}, line {}: {}", n_records + 1, line, block.damage);
    at = block.bytes.data();
    end = at + block.bytes.size();
    return at < end;
}

// The next line into `text`; false at the end of the file.
bool FastqReader::Impl::next_line() {
    if (std::exchange(pushed_back, false)) return true;
    if (!fill()) return false;
    ++line;
    const char* newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
    if (newline) {
        text = {at, static_cast<size_t>(newline - at)};
        at = newline + 1;
    } else {
        joined.clear();
        do {
            newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
            joined.append(at, newline ? newline : end);
            at = newline ? newline + 1 : end;
        } while (!newline && fill());
        text = joined;
    }
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return true;
}

bool FastqReader::Impl::next_full_line() {
    while (next_line())
        if (!text.empty()) return true;
    return false;
}

// `text` is the line that should be a header.
void FastqReader::Impl::read_header(FastqRecord& record) {
    ++n_records;
    if (text[0] != '@') {
        bad("record {}{}, line {}: expected a header that begins with '@', got {}; hint: a line is missing "
            "or too "
            "many, or the record before has qualities of another length",
            n_records, record.name.empty() ? "" : fmt::format(" (after {})", record.name), line,
            describe_byte(text[0]));
    }
    if (text.size() > kLongestHeader) {
        bad("record {}, line {}: the header is longer than {} bytes; hint: is it a FASTQ file?", n_records,
            line, kLongestHeader);
    }
    const auto control = std::find_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127;
    });
    if (control != text.end()) {
        bad("record {}, line {}: the header holds {}; hint: {}", n_records, line, describe_byte(*control),
            *control == '\r' ? "lines end in \\r alone, convert it: tr '\\r' '\\n'" : "the file is damaged");
    }
    const std::string_view header = text.substr(1);
    const size_t begin = std::min(header.find_first_not_of(" \t"), header.size());
    const size_t stop = std::min(header.find_first_of(" \t", begin), header.size());
    record.name = header.substr(begin, stop - begin);
    record.comment = header.substr(std::min(header.find_first_not_of(" \t", stop), header.size()));
    if (record.name.empty())
        bad("record {}, line {}: the header has no name; hint: name it", n_records, line);
}

// Appends `text`, every byte of which must be `allowed`.
void FastqReader::Impl::append(const FastqRecord& record, std::string& to, bool (*allowed)(char),
                               const char* expected) {
    const auto wrong = std::find_if_not(text.begin(), text.end(), allowed);
    if (wrong != text.end()) {
        bad(record, "column {}: expected {}, got {}; hint: {}", wrong - text.begin() + 1, expected,
            describe_byte(*wrong),
            *wrong == '\r' ? "lines end in \\r alone, convert it: tr '\\r' '\\n'"
                           : "is the '+' line missing, or the file damaged?");
    }
    to.append(text);
}

// Up to and including the '+' line; returns whether the sequence has several lines.
bool FastqReader::Impl::read_sequence(FastqRecord& record) {
    record.sequence.clear();
    int64_t n_lines = 0;
    for (;;) {
        if (!next_line())
            bad(record, "cut short: its '+' line and qualities are missing; hint: copy the file again");
        if (!text.empty() && text[0] == '+') break;
        append(record, record.sequence, is_sequence_byte, "a letter");
        n_lines += !text.empty();
    }
    const std::string_view repeated = text.substr(1);
    if (!repeated.empty() && repeated.substr(0, repeated.find_first_of(" \t")) != record.name) {
        bad(record, "the '+' line names another record, {}; hint: the file is damaged, copy it again",
            std::string(repeated.substr(0, 80)));
    }
    return n_lines > 1;
}

// A quality may begin with '@' or '+': only its length tells where it ends.
void FastqReader::Impl::read_qualities(FastqRecord& record, bool is_wrapped) {
    record.qualities.clear();
    const size_t n = record.sequence.size();
    bool at_end = false;
    if (n == 0) {
        // The line may be there, empty, or not at all.
        if (next_line() && !text.empty()) {
            if (text[0] == '@') return push_back();
            append(record, record.qualities, is_quality_byte, "a quality ('!' to '~')");
        }
    } else {
        do {
            at_end = !next_line();
            if (at_end) break;
            append(record, record.qualities, is_quality_byte, "a quality ('!' to '~')");
        } while (record.qualities.size() < n && is_wrapped);
    }
    if (record.qualities.size() != n) {
        bad(record, "its sequence has {} bases and its qualities are {}; hint: {}", n,
            record.qualities.size(),
            at_end ? "the file is cut short, copy it again"
                   : "the record is damaged: repair it, or copy the file again");
    }
    for (char& q : record.qualities) q = static_cast<char>(q - kLowestQuality);
}

FastqReader::FastqReader(InputFile file) : impl_(std::make_unique<Impl>(std::move(file))) {}
FastqReader::~FastqReader() = default;
FastqReader::FastqReader(FastqReader&&) noexcept = default;

bool FastqReader::next(FastqRecord& record) {
    if (!impl_->next_full_line()) return false;
    impl_->read_header(record);
    impl_->read_qualities(record, impl_->read_sequence(record));
    return true;
}

}  // namespace adder
