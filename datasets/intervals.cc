#include "datasets/intervals.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "core/error.h"
#include "core/options.h"

namespace adder {

namespace {

constexpr size_t kLongestLine = 1 << 20;
constexpr size_t kMostColumns = 64;

struct CloseGz {
    void operator()(gzFile_s* f) const { gzclose(f); }
};

// What stands in a file, as a message may show it.
std::string shown(std::string_view text) {
    std::string s(text.substr(0, 40));
    for (char& c : s)
        if (static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) > 126) c = '?';
    return s + (text.size() > 40 ? "..." : "");
}

class LineReader {
  public:
    explicit LineReader(const std::string& path) : path_(path) {
        std::error_code ignored;
        if (std::filesystem::is_directory(path, ignored)) fail("[bed] {}: is a folder; hint: name a file", path);
        file_.reset(gzopen(path.c_str(), "rb"));
        if (!file_) fail("[bed] {}: {}; hint: check the path and the permissions", path, std::strerror(errno));
    }

    // False at the end. The line is without its break.
    bool next(std::string_view& line) {
        line_.clear();
        ++number;
        for (bool complete = false; !complete;) {
            if (at_ == end_ && !fill()) {
                if (line_.empty()) return false;
                break;
            }
            const char* stop = std::find(at_, end_, '\n');
            line_.append(at_, stop);
            complete = stop < end_;
            at_ = complete ? stop + 1 : end_;
            if (line_.size() > kLongestLine)
                fail("[bed] {}, line {}: is longer than {} bytes; hint: is it a BED file?", path_, number, kLongestLine);
        }
        line = line_;
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
        return true;
    }

    int64_t number = 0;  // of the last line

  private:
    bool fill() {
        errno = 0;
        const int n = gzread(file_.get(), block_.data(), static_cast<unsigned>(block_.size()));
        int code = Z_OK;
        gzerror(file_.get(), &code);
        if (code == Z_ERRNO)
            fail("[bed] {}, line {}: reading failed: {}; hint: check the disk", path_, number, std::strerror(errno));
        if (n < 0 || code != Z_OK)
            fail("[bed] {}, line {}: the compressed data is damaged or cut short; hint: copy it again, test with gzip -t",
                 path_, number);
        at_ = block_.data();
        end_ = at_ + n;
        return n > 0;
    }

    const std::string& path_;
    std::unique_ptr<gzFile_s, CloseGz> file_;
    std::array<char, 1 << 16> block_;
    const char *at_ = nullptr, *end_ = nullptr;
    std::string line_;
};

struct Columns {
    std::array<std::string_view, kMostColumns> text;
    size_t count = 0;
    std::string_view operator[](size_t i) const { return i < count ? text[i] : std::string_view(); }
};

Columns split(std::string_view line) {
    Columns columns;
    const bool tabs = line.find('\t') != line.npos;
    while (!line.empty() && columns.count < kMostColumns) {
        const size_t stop = std::min(tabs ? line.find('\t') : line.find(' '), line.size());
        if (tabs || stop > 0) columns.text[columns.count++] = line.substr(0, stop);
        line.remove_prefix(std::min(stop + 1, line.size()));
    }
    return columns;
}

bool begins_with_word(std::string_view line, std::string_view word) {
    return line.starts_with(word) && (line.size() == word.size() || line[word.size()] == ' ' || line[word.size()] == '\t');
}

bool names_columns(const Columns& c) {
    const auto is = [](std::string_view text, std::string_view ending) {
        std::string lower(text);
        for (char& ch : lower) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
        return lower == ending || lower == "chrom" + std::string(ending) || lower == "chrom_" + std::string(ending);
    };
    return is(c[1], "start") && is(c[2], "end");
}

int64_t position(const std::string& path, int64_t line, const char* what, std::string_view text) {
    int64_t value = -1;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || stop != text.data() + text.size() || value < 0)
        fail("[bed] {}, line {}: {}: expected a position counted from 0, got '{}'; hint: BED is chrom, start, end, name",
             path, line, what, shown(text));
    return value;
}

// Where the columns stand that are not always at one place.
struct Layout {
    size_t strand = 5, split = 3;

    explicit Layout(const Columns& names) {
        if (names.count > strand) strand = kMostColumns;  // it may be something else
        for (size_t i = 3; i < names.count; ++i) {
            if (names[i] == "strand") strand = i;
            if (names[i] == "split") split = i;
        }
    }
    Layout() = default;
};

Interval parse(const std::string& path, int64_t line, const Columns& c, const Layout& layout) {
    if (c.count < 3 || c[0].empty())
        fail("[bed] {}, line {}: expected at least chrom, start and end, separated by tabs, got {} column{}", path, line,
             c.count, c.count == 1 ? "" : "s");
    Interval i;
    i.contig = c[0];
    i.begin = position(path, line, "start", c[1]);
    i.end = position(path, line, "end", c[2]);
    i.name = c[3];
    i.split = c[layout.split];
    i.line = line;
    if (i.begin >= i.end)
        fail("[bed] {}, line {}: {}:{}-{} is empty; hint: an interval is [start, end), start counted from 0", path, line,
             shown(i.contig), i.begin, i.end);
    if (const std::string_view strand = c[layout.strand]; !strand.empty()) {
        if (strand != "+" && strand != "-" && strand != ".")
            fail("[bed] {}, line {}: strand: expected +, - or '.' in column {}, got '{}'", path, line, layout.strand + 1,
                 shown(strand));
        i.strand = strand[0];
    }
    return i;
}

// What is left of a contig's name without that in which assemblies and annotations of one genome differ: "chr" in front,
// a version such as ".3" behind, and M or MT for the mitochondrion.
std::string contig_stem(std::string_view name) {
    std::string stem;
    for (const char c : name) stem += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (stem.starts_with("chr") && stem.size() > 3) stem.erase(0, 3);
    const size_t dot = stem.rfind('.');
    if (dot != stem.npos && dot > 0 && dot + 1 < stem.size() && stem.find_first_not_of("0123456789", dot + 1) == stem.npos)
        stem.resize(dot);
    return stem == "mt" ? "m" : stem;
}

// What was probably meant by a name that is not there, as the end of an error.
std::string nearest_contig(const std::string& contig, std::span<const std::string> names,
                           std::span<const std::string> others) {
    constexpr size_t kCompared = 1000;  // distances take time
    const std::string stem = contig_stem(contig);
    std::vector<std::string> some;
    for (const auto& list : {names, others})
        for (const std::string& name : list)
            // As in `locate`: the whole name, and what stands behind a ':'.
            for (size_t colon = 0, begin = 0; colon != name.npos; begin = colon + 1) {
                const std::string one = name.substr(begin);
                if (contig_stem(one) == stem) return fmt::format("; did you mean '{}'?", shown(one));
                if (some.size() < kCompared) some.push_back(one);
                colon = name.find(':', begin);
            }
    return some.empty() ? "" : fmt::format("; the nearest name is '{}'", shown(nearest_name(contig, some)));
}

}  // namespace

std::string Interval::label() const { return name.empty() ? fmt::format("{}:{}-{}", contig, begin, end) : name; }

BedFile read_bed(const std::string& path) {
    BedFile bed{path, {}};
    LineReader reader(path);
    bool first = true;
    Layout layout;
    for (std::string_view line; reader.next(line);) {
        if (first && line.starts_with('#') && names_columns(split(line))) layout = Layout(split(line));
        if (line.find_first_not_of(" \t") == line.npos || line[0] == '#' || begins_with_word(line, "track") ||
            begins_with_word(line, "browser"))
            continue;
        const Columns columns = split(line);
        if (first && names_columns(columns))
            layout = Layout(columns);
        else
            bed.intervals.push_back(parse(path, reader.number, columns, layout));
        first = false;
    }
    if (bed.intervals.empty()) fail("[bed] {}: holds no interval; hint: lines of chrom, start, end", path);
    return bed;
}

std::vector<int64_t> locate(const BedFile& bed, std::span<const std::string> names, std::span<const int64_t> lengths,
                            std::span<const std::string> others) {
    CHECK(names.size() == lengths.size());
    constexpr int64_t kSeveral = -1;
    std::unordered_map<std::string_view, int64_t> whole, bare;
    for (size_t n = 0; n < names.size(); ++n) {
        const std::string_view name = names[n];
        // A contig may itself hold ':', so that every end after one is a name it may go by.
        for (size_t colon = name.find(':'); colon != name.npos; colon = name.find(':', colon + 1))
            if (const auto [at, fresh] = bare.try_emplace(name.substr(colon + 1), static_cast<int64_t>(n)); !fresh)
                at->second = kSeveral;
        if (const auto [at, fresh] = whole.try_emplace(name, static_cast<int64_t>(n)); !fresh) at->second = kSeveral;
    }
    std::vector<int64_t> found;
    for (const Interval& i : bed.intervals) {
        auto at = whole.find(i.contig);
        if (at == whole.end()) {
            at = bare.find(i.contig);
            if (at == bare.end())
                fail("[bed] {}, line {}: the input has no sequence '{}'{}", bed.path, i.line, shown(i.contig),
                     nearest_contig(i.contig, names, others));
        }
        if (at->second == kSeveral)
            fail("[bed] {}, line {}: '{}' is the name of several sequences of the input; hint: write file:name", bed.path,
                 i.line, shown(i.contig));
        const int64_t length = lengths[static_cast<size_t>(at->second)];
        if (i.end > length)
            fail("[bed] {}, line {}: {}:{}-{} goes past the end of the sequence, which has {}; hint: is it the same assembly?",
                 bed.path, i.line, shown(i.contig), i.begin, i.end, length);
        found.push_back(at->second);
    }
    return found;
}

}  // namespace adder
