// Pieces of HTML pages that stand alone: text, numbers, data URIs, and the page with its style and script.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace adder {

// Text for an element or a quoted attribute. What is no UTF-8 and control characters become U+FFFD, so that
// any file name and any record makes a valid page.
std::string html_text(std::string_view text);

// "1,234,567"
std::string grouped(int64_t n);
// `value` with `digits` significant digits, "not finite" as a dash.
std::string rounded(double value, int digits = 4);
// The shortest text that reads back as the same double; "nan" where it is not finite.
std::string exact(double value);
// A table cell: `rounded` to read, `exact` in data-value.
std::string number_cell(double value, int digits = 5);
// The same with 4 decimals, for columns of losses and scores.
std::string score_cell(double value);
// "3 h 5 min", "42.1 s"
std::string duration_text(double seconds);

// "data:TYPE;base64,..."
std::string data_uri(std::string_view type, std::span<const std::byte> bytes);

struct Page {
    std::string title;       // plain text
    std::string body;        // HTML
    std::string style = {};  // after the common style
    std::string script = {};
};
// By which a page of this program is known.
inline constexpr std::string_view kGenerator = "<meta name=\"generator\" content=\"adder\">";
// The whole document. It asks for nothing outside itself, and a content security policy in it holds a browser
// to that.
std::string html_page(const Page& page);

}  // namespace adder
