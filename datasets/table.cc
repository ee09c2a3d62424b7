#include "datasets/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "datasets/bytes.h"
#include "io/file.h"

namespace adder {

namespace {

std::string_view trimmed(std::string_view s) {
    while (!s.empty() && is_blank(s.front())) s.remove_prefix(1);
    while (!s.empty() && is_blank(s.back())) s.remove_suffix(1);
    return s;
}

// What people pass by mistake, by how it begins.
const char* other_format(std::string_view text) {
    const auto begins = [&](std::string_view with) { return text.substr(0, with.size()) == with; };
    if (begins("\x1F\x8B")) return "is compressed; hint: gunzip it";
    if (begins("PK\3\4")) return "is a zip archive or an Excel workbook; hint: save it as CSV";
    if (begins("\xFF\xFE") || begins("\xFE\xFF")) return "is UTF-16 text; hint: save it as UTF-8";
    if (begins("\x89HDF")) return "is an HDF5 file; hint: a table is text";
    if (begins(">")) return "is a FASTA file; hint: a table has a header line with the names of its columns";
    if (begins("[")) return "is a JSON array; hint: write one object a line: jq -c '.[]'";
    if (text.substr(0, 1 << 16).find('\0') != std::string_view::npos) return "is no text; hint: a table is text";
    return nullptr;
}

char separator_of(std::string_view header) {
    for (const char c : {'\t', ',', ';'})
        if (header.find(c) != std::string_view::npos) return c;
    return '\t';
}

const char* name_of(char separator) {
    return separator == '\t' ? "tabs" : separator == ',' ? "commas" : "semicolons";
}

}  // namespace

class TableReader {
  public:
    TableReader(Table& table, std::string_view text, const std::vector<std::string_view>& known)
        : table_(table), rest_(text), known_(known) {}
    void read();

  private:
    template <class... Args>
    [[noreturn]] void bad(int64_t line, fmt::format_string<Args...> format, Args&&... args) const {
        fail("[table] {}: line {}: {}", table_.path_, line, fmt::format(format, std::forward<Args>(args)...));
    }
    std::string_view next_line();
    void read_header(std::string_view line);
    void read_rows();
    void read_json();
    void read_object(std::string_view line, std::map<std::string, std::string>& row);
    std::vector<std::string> split(std::string_view line);
    std::string take_quoted(std::string_view& line);
    bool is_comment(std::string_view line);

    Table& table_;
    std::string_view rest_;
    const std::vector<std::string_view>& known_;
    int64_t line_ = 0;  // of what next_line returned last
    char separator_ = '\t';
};

// Without its line break. Only while something is left.
std::string_view TableReader::next_line() {
    const size_t newline = rest_.find('\n');
    std::string_view line = rest_.substr(0, newline);
    rest_.remove_prefix(newline == std::string_view::npos ? rest_.size() : newline + 1);
    ++line_;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.find('\r') != std::string_view::npos)
        bad(line_, "lines end in \\r alone; hint: convert it: tr '\\r' '\\n'");
    return line;
}

// `line` stands on the opening quote; afterwards behind the closing one. Takes further lines where the text has breaks.
std::string TableReader::take_quoted(std::string_view& line) {
    const int64_t first_line = line_;
    std::string field;
    line.remove_prefix(1);
    for (;;) {
        const size_t quote = line.find('"');
        field += line.substr(0, quote);
        if (quote == std::string_view::npos) {
            if (rest_.empty())
                bad(first_line,
                    "a field that begins with a quote does not end; hint: close it, and write \"\" for a quote in it");
            field += '\n';
            line = next_line();
            continue;
        }
        line.remove_prefix(quote + 1);
        if (line.empty() || line.front() != '"') return field;
        field += '"';
        line.remove_prefix(1);
    }
}

std::vector<std::string> TableReader::split(std::string_view line) {
    std::vector<std::string> fields;
    for (;;) {
        const size_t begin = std::min(line.find_first_not_of(separator_ == '\t' ? " " : " \t"), line.size());
        if (begin < line.size() && line[begin] == '"') {
            line.remove_prefix(begin);
            fields.push_back(take_quoted(line));
            const size_t next = std::min(line.find(separator_), line.size());
            if (!trimmed(line.substr(0, next)).empty())
                bad(line_, "text after the closing quote of a field; hint: write \"\" for a quote inside a field");
            line.remove_prefix(next);
        } else {
            const size_t next = std::min(line.find(separator_), line.size());
            fields.emplace_back(trimmed(line.substr(0, next)));
            line.remove_prefix(next);
        }
        if (line.empty()) return fields;
        line.remove_prefix(1);
    }
}

void TableReader::read_header(std::string_view line) {
    separator_ = separator_of(line);
    table_.columns_ = split(line);
    for (size_t i = 0; i < table_.columns_.size(); ++i)
        if (!table_.columns_[i].empty() && table_.find(table_.columns_[i]) != static_cast<int64_t>(i))
            bad(line_, "two columns are named '{}'; hint: rename one", table_.columns_[i]);
}

// Before the header: unless it is one behind a '#'.
bool TableReader::is_comment(std::string_view line) {
    if (line.empty() || line.front() != '#') return false;
    if (!table_.columns_.empty()) {
        if (static_cast<size_t>(std::count(line.begin(), line.end(), separator_)) + 1 != table_.columns_.size() ||
            table_.columns_.size() == 1)
            return true;
        bad(line_,
            "begins with '#' and has as many fields as a row: a comment or a row? hint: remove it, or quote the "
            "first field");
    }
    std::string_view text = line.substr(1);
    const char separator = separator_of(text);
    for (;;) {
        const size_t next = std::min(text.find(separator), text.size());
        if (std::find(known_.begin(), known_.end(), trimmed(text.substr(0, next))) != known_.end()) return false;
        if (next == text.size()) return true;
        text.remove_prefix(next + 1);
    }
}

void TableReader::read_rows() {
    while (!rest_.empty()) {
        std::string_view line = next_line();
        if (trimmed(line).empty() || is_comment(line)) continue;
        if (table_.columns_.empty()) {
            read_header(line.front() == '#' ? line.substr(1) : line);
            continue;
        }
        const int64_t first_line = line_;
        std::vector<std::string> fields = split(line);
        if (fields.size() != table_.columns_.size())
            bad(first_line, "{} field{} where the header has {} columns ({}); hint: fields are separated by {} here",
                fields.size(), fields.size() == 1 ? "" : "s", table_.columns_.size(), fmt::join(table_.columns_, ", "),
                name_of(separator_));
        table_.lines_.push_back(first_line);
        std::move(fields.begin(), fields.end(), std::back_inserter(table_.fields_));
    }
}

void TableReader::read_object(std::string_view line, std::map<std::string, std::string>& row) {
    nlohmann::ordered_json object;
    try {
        object = nlohmann::ordered_json::parse(line);
    } catch (const nlohmann::json::exception&) {
        bad(line_, "is no JSON; hint: write one object a line");
    }
    if (!object.is_object())
        bad(line_, "is no JSON object; hint: write one object a line, such as {{\"name\": \"a\"}}");
    for (const auto& [key, value] : object.items()) {
        if (value.is_structured()) bad(line_, "'{}' is no text or number; hint: one value a key", key);
        if (table_.find(key) < 0) table_.columns_.push_back(key);
        row[key] = value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
    }
}

void TableReader::read_json() {
    std::vector<std::map<std::string, std::string>> rows;
    while (!rest_.empty()) {
        const std::string_view line = trimmed(next_line());
        if (line.empty() || line.front() == '#') continue;
        read_object(line, rows.emplace_back());
        table_.lines_.push_back(line_);
    }
    for (auto& row : rows)
        for (const std::string& column : table_.columns_) table_.fields_.push_back(std::move(row[column]));
}

void TableReader::read() {
    if (rest_.substr(0, 3) == "\xEF\xBB\xBF") rest_.remove_prefix(3);
    if (const char* what = other_format(rest_)) fail("[table] {}: {}", table_.path_, what);
    const size_t first = rest_.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos)
        fail("[table] {}: is empty; hint: a table has a header and rows", table_.path_);
    rest_[first] == '{' ? read_json() : read_rows();
    if (table_.lines_.empty())
        fail("[table] {}: has no rows; hint: the first line is a header, rows follow", table_.path_);
}

Table::Table(const std::string& path, const std::vector<std::string_view>& known) : path_(path) {
    const MappedFile file(path);
    TableReader(*this, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, known).read();
}

const std::string& Table::at(int64_t row, int64_t column) const {
    CHECK(row >= 0 && row < n_rows() && column >= 0 && column < static_cast<int64_t>(columns_.size()));
    return fields_[static_cast<size_t>(row) * columns_.size() + static_cast<size_t>(column)];
}

int64_t Table::find(std::string_view column) const {
    const auto it = std::find(columns_.begin(), columns_.end(), column);
    return it == columns_.end() ? -1 : it - columns_.begin();
}

int64_t Table::require(std::string_view column) const {
    const int64_t i = find(column);
    if (i >= 0) return i;
    fail(
        "[table] {}: no column '{}'; its columns: {}; hint: the first line names the columns, separated by tabs or "
        "commas",
        path_, column, fmt::join(columns_, ", "));
}

bool looks_like_table(const std::string& path, const std::vector<std::string_view>& columns) {
    constexpr size_t kHeadBytes = 1 << 16;
    std::ifstream in(path, std::ios::binary);
    std::string head(kHeadBytes, '\0');
    in.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<size_t>(in.gcount()));
    std::string_view rest = head;
    if (rest.substr(0, 3) == "\xEF\xBB\xBF") rest.remove_prefix(3);
    if (head.empty() || other_format(rest)) return false;
    while (!rest.empty()) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        std::string_view line = trimmed(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.empty()) continue;
        if (line.front() == '{')
            return std::any_of(columns.begin(), columns.end(), [&](std::string_view c) {
                return line.find(fmt::format("\"{}\"", c)) != std::string_view::npos;
            });
        const bool marked = line.front() == '#';
        if (marked) line.remove_prefix(1);
        for (const char separator = separator_of(line);;) {
            const size_t next = std::min(line.find(separator), line.size());
            std::string_view field = trimmed(line.substr(0, next));
            if (field.size() > 1 && field.front() == '"' && field.back() == '"')
                field = field.substr(1, field.size() - 2);
            if (std::find(columns.begin(), columns.end(), field) != columns.end()) return true;
            if (next == line.size()) break;
            line.remove_prefix(next + 1);
        }
        if (!marked) return false;
    }
    return false;
}

}  // namespace adder
