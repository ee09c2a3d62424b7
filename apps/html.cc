#include "apps/html.h"

#include <fmt/format.h>

#include <cmath>

namespace adder {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the well-formed UTF-8 character at the front (RFC 3629); 0 = there is none.
size_t character_length(std::string_view s) {
    const auto byte = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
    const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
    const unsigned a = byte(0), b = byte(1);
    if (a < 0x80) return 1;
    if (a >= 0xC2 && a <= 0xDF) return continues(1) ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF) {
        const bool legal = !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b > 0x9F);  // overlong; surrogates
        return legal && continues(1) && continues(2) ? 3 : 0;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        const bool legal = !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b > 0x8F);  // overlong; past U+10FFFF
        return legal && continues(1) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

// Only colours differ between light and dark; print has its own where paper needs it. Runs have the colours
// c0 to c7, told apart with any colour vision (Okabe and Ito, "Color Universal Design", 2008).
constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--back:#fff;--fore:#1b1f24;--soft:#59636e;--line:#d5dae0;--panel:#f5f7f9;--good:#00714f;--bad:#b3261e;
--c0:#0072b2;--c1:#d55e00;--c2:#008a64;--c3:#b5477f;--c4:#9a6b00;--c5:#3b8fc4;--c6:#6b4fb3;--c7:#555}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--fore:#e4e8ec;--soft:#9aa5b1;--line:#353c44;--panel:#1d2126;--good:#4cc796;
--bad:#ff8a80;--c0:#56b4e9;--c1:#f08a3c;--c2:#2fc79a;--c3:#e08bb9;--c4:#e6b032;--c5:#8fd0f5;--c6:#ab94f0;--c7:#b0b0b0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:78rem;padding:1.5rem 1.25rem 4rem;background:var(--back);color:var(--fore);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:.2em 0}h2{font-size:1.3rem;margin:2.2em 0 .5em;border-bottom:1px solid var(--line);padding-bottom:.2em}
h3{font-size:1.05rem;margin:1.4em 0 .4em}p{margin:.5em 0}a{color:var(--c0)}
.soft,figcaption,caption{color:var(--soft);font-size:.9rem}.problem{color:var(--bad)}.wins{color:var(--good);font-weight:600}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:.6em 0;font-size:.92rem}caption{text-align:left;padding-bottom:.3em}
th,td{padding:.25em .8em .25em 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}tr.best td{font-weight:600}
code,pre{font:.85rem/1.45 ui-monospace,monospace;overflow-wrap:anywhere}pre{background:var(--panel);padding:.6em .8em;white-space:pre-wrap;margin:.3em 0}
details>summary{cursor:pointer;color:var(--c0);margin:.4em 0}
figure{margin:.8em 0}svg{max-width:100%;height:auto}img{max-width:100%}
.swatch{display:inline-block;width:.85em;height:.85em;border-radius:2px;margin-right:.4em;vertical-align:-.05em}
@media print{body{max-width:none;padding:0;font-size:11pt}figure,tr,pre{break-inside:avoid}h2,h3{break-after:avoid}details>summary{color:inherit}}
)";

}  // namespace

std::string html_text(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const size_t n = character_length(text);
        const char c = text.front();
        const bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        if (n == 0 || control)
            out += kReplacement;
        else if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (c == '\'')
            out += "&#39;";
        else
            out.append(text.substr(0, n));
        text.remove_prefix(std::max<size_t>(n, 1));
    }
    return out;
}

std::string grouped(int64_t n) {
    std::string text = fmt::format("{}", n);
    for (auto at = static_cast<int64_t>(text.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
        text.insert(static_cast<size_t>(at), ",");
    return text;
}

std::string rounded(double value, int digits) {
    if (!std::isfinite(value)) return "\xE2\x80\x93";  // a dash
    if (value == std::floor(value) && std::abs(value) < 1e15) return grouped(static_cast<int64_t>(value));
    return fmt::format("{:.{}g}", value, digits);
}

std::string exact(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "nan";
}

std::string number_cell(double value, int digits) {
    return fmt::format("<td class=\"n\" data-value=\"{}\">{}</td>", exact(value), rounded(value, digits));
}

std::string score_cell(double value) {
    return fmt::format("<td class=\"n\" data-value=\"{}\">{}</td>", exact(value),
                       std::isfinite(value) ? fmt::format("{:.4f}", value) : rounded(value));
}

std::string duration_text(double seconds) {
    if (!std::isfinite(seconds)) return rounded(seconds);
    if (seconds < 100) return fmt::format("{:.1f} s", seconds);
    const auto minutes = static_cast<int64_t>(std::lround(seconds / 60));
    if (minutes < 100)
        return fmt::format("{} min {} s", static_cast<int64_t>(seconds) / 60,
                           static_cast<int64_t>(seconds) % 60);
    return fmt::format("{} h {} min", grouped(minutes / 60), minutes % 60);
}

std::string data_uri(std::string_view type, std::span<const std::byte> bytes) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out = fmt::format("data:{};base64,", type);
    out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const auto at = [&](size_t j) { return j < bytes.size() ? std::to_integer<uint32_t>(bytes[j]) : 0u; };
        const uint32_t three = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        out += kDigits[three >> 18];
        out += kDigits[three >> 12 & 63];
        out += i + 1 < bytes.size() ? kDigits[three >> 6 & 63] : '=';
        out += i + 2 < bytes.size() ? kDigits[three & 63] : '=';
    }
    return out;
}

std::string html_page(const Page& page) {
    std::string out = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; media-src "
        "data: blob:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n{}\n<title>{}</title>\n<style>{}{}</style>\n"
        "</head>\n<body>\n",
        kGenerator, html_text(page.title), kStyle, page.style);
    out += page.body;
    if (!page.script.empty()) out += fmt::format("<script>{}</script>\n", page.script);
    return out + "</body>\n</html>\n";
}

}  // namespace adder
