// Tables with a header: tab-separated, comma- or semicolon-separated, or one JSON object a line, told apart by content.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace adder {

// A whole table in memory, every field as text.
//
// Lines end in \n or \r\n, the last one may end with the file; blank lines, a byte-order mark and blanks around fields
// are skipped. The separator is a tab where the header has one, else a comma, else a semicolon. A field that begins
// with a double quote ends with one; between them separators and line breaks are text and "" is a quote (RFC 4180). Of
// JSON lines the columns are the keys, in the order in which they appear; numbers and booleans become text, null and a
// missing key "". Lines that begin with '#' are comments, except a header such as "#name<TAB>label", which is taken
// without its mark.
//
// Errors, one line that names file, line and a remedy: a missing, empty or binary file, a header without rows, a column
// named twice, a row with more or fewer fields than the header, quotes that do not end, a line that is no JSON object,
// and a '#' before as many fields as the table has columns, which may be a comment or a row.
class Table {
  public:
    // `known`: columns of which one makes a line that begins with '#' a header.
    explicit Table(const std::string& path, const std::vector<std::string_view>& known = {});

    const std::string& path() const { return path_; }
    const std::vector<std::string>& columns() const { return columns_; }
    int64_t n_rows() const { return static_cast<int64_t>(lines_.size()); }
    // The line of the file on which a row begins, from 1.
    int64_t line(int64_t row) const { return lines_[static_cast<size_t>(row)]; }
    const std::string& at(int64_t row, int64_t column) const;
    // -1 where there is no such column.
    int64_t find(std::string_view column) const;
    // Throws Error that lists the columns there are.
    int64_t require(std::string_view column) const;

  private:
    friend class TableReader;
    std::string path_;
    std::vector<std::string> columns_;
    std::vector<std::string> fields_;  // row by row
    std::vector<int64_t> lines_;
};

// Whether the file begins like a table with one of these columns. False for what cannot be read.
bool looks_like_table(const std::string& path, const std::vector<std::string_view>& columns);

}  // namespace adder
