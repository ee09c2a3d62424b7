#include "apps/confusion_svg.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace adder {

namespace {

constexpr int64_t kMostWithCounts = 30, kMostWithNames = 80;
constexpr size_t kLongestName = 18;

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:  // XML has no other control characters, not even escaped
                out += static_cast<unsigned char>(c) < 32 || c == 127 ? ' ' : c;
        }
    return out;
}

// The first characters of a long name; never a part of a UTF-8 sequence.
std::string shortened(std::string_view name) {
    size_t characters = 0, at = 0;
    for (; at < name.size(); ++at) {
        if ((static_cast<unsigned char>(name[at]) & 0xC0) == 0x80) continue;
        if (characters++ == kLongestName) return escaped(name.substr(0, at)) + "…";
    }
    return escaped(name);
}

// Where things stand, in pixels.
struct Layout {
    int64_t cell, margin, side;

    explicit Layout(const std::vector<std::string>& classes) {
        const auto C = static_cast<int64_t>(classes.size());
        cell = C <= 6                 ? 64
               : C <= 12              ? 48
               : C <= kMostWithCounts ? 32
               : C <= kMostWithNames  ? 14
                                      : std::max<int64_t>(1, 900 / C);
        size_t longest = 1;
        for (const std::string& name : classes) longest = std::max(longest, std::min(name.size(), kLongestName + 1));
        margin = 40 + (C <= kMostWithNames ? 7 * static_cast<int64_t>(longest) : 0);
        side = cell * C;
    }
};

void append_cell(std::string& svg, const Layout& at, int64_t row, int64_t column,
                 const std::vector<std::string>& classes, std::span<const int64_t> confusion) {
    const auto C = static_cast<int64_t>(classes.size());
    const int64_t count = confusion[static_cast<size_t>(row * C + column)];
    int64_t of_row = 0;
    for (int64_t j = 0; j < C; ++j) of_row += confusion[static_cast<size_t>(row * C + j)];
    const double share = of_row > 0 ? static_cast<double>(count) / static_cast<double>(of_row) : 0;
    const int64_t x = at.margin + column * at.cell, y = at.margin + row * at.cell;
    svg += fmt::format(
        "<g><title>truth {}, predicted {}: {} of {} ({:.1f} %)</title>"
        "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill-opacity=\"{:.3f}\"/>",
        escaped(classes[static_cast<size_t>(row)]), escaped(classes[static_cast<size_t>(column)]), count, of_row,
        100 * share, row == column ? "right" : "wrong", x, y, at.cell, at.cell, 0.04 + 0.9 * share);
    if (C <= kMostWithCounts)
        svg += fmt::format("<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                           share > 0.5 ? "on" : "off", x + at.cell / 2, y + at.cell / 2 + 4, count);
    svg += "</g>\n";
}

}  // namespace

std::string confusion_svg(const std::vector<std::string>& classes, std::span<const int64_t> confusion) {
    const auto C = static_cast<int64_t>(classes.size());
    CHECK(C >= 1 && static_cast<int64_t>(confusion.size()) == C * C);
    const Layout at(classes);
    const int64_t size = at.margin + at.side + 12;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"confusion\" role=\"img\" aria-label=\"confusion matrix\" "
        "viewBox=\"0 0 {0} {0}\" width=\"{0}\" height=\"{0}\">\n"
        "<style>.confusion text{{font:12px system-ui,sans-serif;fill:#222}}.confusion .right{{fill:#1a6fb0}}"
        ".confusion .wrong{{fill:#b4451f}}.confusion .on{{fill:#fff}}.confusion .frame{{fill:none;stroke:#888}}"
        "@media (prefers-color-scheme:dark){{.confusion text{{fill:#ddd}}.confusion .right{{fill:#3b9be0}}"
        ".confusion .wrong{{fill:#e0744b}}.confusion .on{{fill:#000}}}}</style>\n",
        size);
    const int64_t middle = at.margin + at.side / 2;
    svg += fmt::format(
        "<text x=\"{0}\" y=\"16\" text-anchor=\"middle\">predicted</text>\n"
        "<text x=\"16\" y=\"{0}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {0})\">truth</text>\n",
        middle);
    for (int64_t c = 0; c < C && C <= kMostWithNames; ++c) {
        const int64_t centre = at.margin + c * at.cell + at.cell / 2, edge = at.margin - 6;
        const std::string name = shortened(classes[static_cast<size_t>(c)]);
        svg += fmt::format(
            "<text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{2}</text>\n"
            "<text x=\"{3}\" y=\"{0}\" transform=\"rotate(-90 {3} {0})\">{2}</text>\n",
            edge, centre + 4, name, centre + 4);
    }
    for (int64_t i = 0; i < C; ++i)
        for (int64_t j = 0; j < C; ++j) append_cell(svg, at, i, j, classes, confusion);
    svg += fmt::format("<rect class=\"frame\" x=\"{0}\" y=\"{0}\" width=\"{1}\" height=\"{1}\"/>\n</svg>\n", at.margin,
                       at.side);
    return svg;
}

}  // namespace adder
