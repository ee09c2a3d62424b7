#include "apps/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/html.h"
#include "core/error.h"

namespace adder {

const char* const kChartStyle = R"(
.chart text{font:12px system-ui,sans-serif;fill:var(--soft)}.chart .title{font-weight:600;fill:var(--fore);font-size:13px}
.chart .grid{stroke:var(--line);stroke-width:1}.chart path,.chart .cross{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}
.chart .pale{opacity:.3;stroke-width:1}.chart .again{stroke-dasharray:7 3}.chart .hatched{stroke-dasharray:2 3}
.chart .dot{fill:var(--c)}.chart .cloud{fill:var(--c);opacity:.7}.chart .cursor{stroke:var(--soft);stroke-dasharray:2 3}
.chart .shown{font-size:11px;fill:var(--fore)}.chart .off{display:none}
.k0{--c:var(--c0)}.k1{--c:var(--c1)}.k2{--c:var(--c2)}.k3{--c:var(--c3)}.k4{--c:var(--c4)}.k5{--c:var(--c5)}.k6{--c:var(--c6)}.k7{--c:var(--c7)}
)";

// Without it the page lacks nothing but the numbers under the pointer and the switching of runs.
const char* const kChartScript = R"(
'use strict';
function short(v){const a=Math.abs(v);return a!==0&&(a<1e-3||a>=1e6)?v.toExponential(3):String(+v.toPrecision(5));}
for(const svg of document.querySelectorAll('svg.chart[data-x0]')){
  const d=k=>+svg.dataset[k],paths=[...svg.querySelectorAll('path[data-name]')].map(p=>({e:p,at:[...p.getAttribute('d').matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)].map(m=>[+m[1],+m[2]])}));
  const ns='http://www.w3.org/2000/svg',line=document.createElementNS(ns,'line'),words=document.createElementNS(ns,'text');
  line.setAttribute('class','cursor off');words.setAttribute('class','shown off');svg.append(line,words);
  const hide=()=>{line.classList.add('off');words.classList.add('off');};
  svg.addEventListener('mouseleave',hide);
  svg.addEventListener('mousemove',e=>{
    const box=svg.getBoundingClientRect(),x=(e.clientX-box.left)*svg.viewBox.baseVal.width/box.width;
    if(x<d('left')||x>d('right'))return hide();
    const rows=[];
    for(const p of paths){if(p.e.classList.contains('off')||!p.at.length)continue;
      let near=p.at[0];for(const q of p.at)if(Math.abs(q[0]-x)<Math.abs(near[0]-x))near=q;
      if(Math.abs(near[0]-x)>40)continue;
      let v=d('y0')+(d('bottom')-near[1])/(d('bottom')-d('top'))*(d('y1')-d('y0'));if(svg.dataset.log)v=Math.pow(10,v);
      rows.push(p.e.dataset.name+': '+short(v));}
    line.setAttribute('x1',x);line.setAttribute('x2',x);line.setAttribute('y1',d('top'));line.setAttribute('y2',d('bottom'));
    words.replaceChildren();
    const right=x>(d('left')+d('right'))/2;
    [short(d('x0')+(x-d('left'))/(d('right')-d('left'))*(d('x1')-d('x0'))),...rows].forEach((t,i)=>{const s=document.createElementNS(ns,'tspan');
      s.setAttribute('x',right?x-8:x+8);s.setAttribute('y',d('top')+14+14*i);s.textContent=t;words.append(s);});
    words.setAttribute('text-anchor',right?'end':'start');line.classList.remove('off');words.classList.remove('off');});
}
for(const box of document.querySelectorAll('input[data-run]'))box.addEventListener('change',()=>{
  for(const e of document.querySelectorAll('.chart [data-run="'+box.dataset.run+'"]'))e.classList.toggle('off',!box.checked);});
)";

namespace {

constexpr double kWidth = 720, kHeight = 300, kLeft = 62, kRight = 708, kTop = 28, kBottom = 252;
constexpr int64_t kColours = 8;
constexpr size_t kFewValues = 150;  // a line of no more is not averaged

bool finite(double x, double y) {
    return std::isfinite(x) && std::isfinite(y);
}

// Which of `columns` equal parts of a range a value is in.
struct Columns {
    double first, width;
    int64_t count;
    int64_t of(double x) const {
        return width > 0 ? std::min(count - 1,
                                    static_cast<int64_t>((x - first) / width * static_cast<double>(count)))
                         : 0;
    }
};

Columns columns_of(std::span<const double> x, int64_t count) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const double v : x)
        if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    return {low, high - low, std::max<int64_t>(count, 1)};
}

// One point for each column: the means of its points.
std::vector<ChartPoint> averaged(std::span<const double> x, std::span<const double> y, int64_t columns) {
    const Columns c = columns_of(x, columns);
    std::vector<ChartPoint> points;
    int64_t column = -1, n = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        if (!finite(x[i], y[i])) continue;
        if (c.of(x[i]) != column) {
            points.push_back({0, 0});
            column = c.of(x[i]);
            n = 0;
        }
        ++n;
        ChartPoint& p = points.back();
        p.x += (x[i] - p.x) / static_cast<double>(n);
        p.y += (y[i] - p.y) / static_cast<double>(n);
    }
    return points;
}

struct Axis {
    double low = 0, high = 1;
    double at(double v, double from, double to) const {
        return from + (v - low) / (high - low) * (to - from);
    }
};

// The range of values, with room around it; never empty.
Axis axis_of(double low, double high, double room) {
    if (!(low <= high)) return {};
    if (low == high) {
        const double half = low == 0 ? 1 : std::abs(low) * 0.05;
        return {low - half, high + half};
    }
    return {low - room * (high - low), high + room * (high - low)};
}

// 1, 2 or 5 times a power of ten that cuts the range into about `count` parts.
double tick_step(const Axis& axis, double count) {
    const double raw = (axis.high - axis.low) / count, power = std::pow(10, std::floor(std::log10(raw)));
    for (const double m : {1., 2., 5.})
        if (raw <= m * power * 1.0001) return m * power;
    return 10 * power;
}

// "1.5M", "20k", "0.025"
std::string tick_text(double v, double step) {
    const double size = std::abs(v);
    if (size < step * 1e-6) return "0";
    for (const auto& [unit, letter] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}})
        if (size >= 0.9999999 * unit && (unit > 1e3 || size >= 1e4))
            return fmt::format("{:.6g}{}", v / unit, letter);
    return fmt::format("{:.6g}", v);
}

struct Plot {
    Axis x, y;
    bool log_y;
    double px(double v) const { return x.at(v, kLeft, kRight); }
    double py(double v) const { return y.at(log_y ? std::log10(v) : v, kBottom, kTop); }
};

Plot plot_of(const ChartText& text, std::span<const ChartSeries> series) {
    constexpr double kNone = std::numeric_limits<double>::infinity();
    double x0 = kNone, x1 = -kNone, y0 = kNone, y1 = -kNone;
    for (const ChartSeries& s : series)
        for (size_t i = 0; i < s.x.size(); ++i) {
            if (!std::isfinite(s.x[i])) continue;
            x0 = std::min(x0, s.x[i]), x1 = std::max(x1, s.x[i]);
            if (std::isfinite(s.y[i])) y0 = std::min(y0, s.y[i]), y1 = std::max(y1, s.y[i]);
        }
    if (text.diagonal) x0 = y0 = std::min(x0, y0), x1 = y1 = std::max(x1, y1);
    const bool log_y = text.log_y && y0 > 0 && y0 <= y1;
    if (log_y) y0 = std::log10(y0), y1 = std::log10(y1);
    return {axis_of(x0, x1, text.by_points ? 0.03 : 0), axis_of(y0, y1, text.diagonal ? 0.03 : 0.05), log_y};
}

void append_axes(std::string& svg, const Plot& plot, const ChartText& text) {
    const double step_y = tick_step(plot.y, 5), step_x = tick_step(plot.x, 7);
    for (double v = std::ceil(plot.y.low / step_y) * step_y; v <= plot.y.high; v += step_y) {
        const double at = plot.y.at(v, kBottom, kTop);
        const double shown = plot.log_y ? std::pow(10, v) : v;
        svg += fmt::format(
            "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
            "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
            kLeft, kRight, at, at, kLeft - 6, at + 4,
            plot.log_y ? rounded(shown, 2) : tick_text(shown, step_y));
    }
    for (double v = std::ceil(plot.x.low / step_x) * step_x; v <= plot.x.high; v += step_x)
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                           plot.x.at(v, kLeft, kRight), kBottom + 16, tick_text(v, step_x));
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>\n"
        "<text x=\"{1}\" y=\"{3}\" text-anchor=\"end\">{4}</text>\n<text class=\"title\" x=\"4\" "
        "y=\"15\">{5}</text>\n"
        "<text x=\"{1}\" y=\"15\" text-anchor=\"end\">{6}</text>\n",
        kLeft, kRight, kBottom, kBottom + 34, html_text(text.x_label), html_text(text.title),
        html_text(text.y_label));
    if (text.diagonal)
        svg +=
            fmt::format("<line class=\"cursor\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", kLeft, kRight,
                        plot.y.at(plot.x.low, kBottom, kTop), plot.y.at(plot.x.high, kBottom, kTop));
}

void append_path(std::string& svg, const Plot& plot, std::span<const ChartPoint> points,
                 const std::string& attributes) {
    if (points.empty()) return;
    svg += fmt::format("<path {} d=\"", attributes);
    char command = 'M';
    for (const ChartPoint& p : points) {
        svg += fmt::format("{}{:.1f} {:.1f}", command, plot.px(p.x), plot.py(p.y));
        command = 'L';
    }
    svg += "\"/>\n";
}

// Crosses at the upper edge: no more than one for each column.
int64_t append_not_finite(std::string& svg, const Plot& plot, const ChartSeries& s, const std::string& group,
                          int64_t columns) {
    const Columns c = columns_of(s.x, columns);
    int64_t count = 0, column = -1;
    for (size_t i = 0; i < s.x.size(); ++i) {
        if (std::isfinite(s.y[i]) || !std::isfinite(s.x[i])) continue;
        ++count;
        if (c.of(s.x[i]) == column) continue;
        column = c.of(s.x[i]);
        svg += fmt::format("<path class=\"cross {0}\" d=\"M{1:.1f} {2}l8 8m0 -8l-8 8\"/>\n", group,
                           plot.px(s.x[i]) - 4, kTop + 2);
    }
    return count;
}

int64_t append_series(std::string& svg, const Plot& plot, const ChartText& text, const ChartSeries& s,
                      int64_t columns) {
    const std::string colour =
        fmt::format("k{}{}", s.colour % kColours, s.colour >= kColours ? " again" : "");
    const std::string run = fmt::format("data-run=\"{}\"", s.colour),
                      name = fmt::format("data-name=\"{}\"", html_text(s.name));
    svg += fmt::format("<g {}>\n", run);
    const std::vector<ChartPoint> points = thinned(s.x, s.y, columns);
    if (text.by_points) {
        for (const ChartPoint& p : points)
            svg += fmt::format("<circle class=\"cloud {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>", colour,
                               plot.px(p.x), plot.py(p.y));
        svg += '\n';
    } else {
        const bool average = !s.is_sparse && s.x.size() > kFewValues;
        const std::string kind = colour + (s.hatched ? " hatched" : "");
        append_path(
            svg, plot, points,
            average ? fmt::format("class=\"pale {}\"", kind) : fmt::format("class=\"{}\" {}", kind, name));
        if (average)
            append_path(svg, plot, averaged(s.x, s.y, std::min<int64_t>(columns, 80)),
                        fmt::format("class=\"{}\" {}", kind, name));
        if ((s.is_sparse && points.size() <= 60) || points.size() == 1)
            for (const ChartPoint& p : points)
                svg += fmt::format("<circle class=\"dot {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>", colour,
                                   plot.px(p.x), plot.py(p.y));
    }
    const int64_t not_finite = append_not_finite(svg, plot, s, colour, std::min<int64_t>(columns, 100));
    svg += "</g>\n";
    return not_finite;
}

}  // namespace

std::vector<ChartPoint> thinned(std::span<const double> x, std::span<const double> y, int64_t columns) {
    CHECK(x.size() == y.size());
    const Columns c = columns_of(x, columns);
    std::vector<ChartPoint> points;
    std::vector<size_t> kept;  // of the present column: first, lowest, highest, last
    const auto put = [&] {
        std::sort(kept.begin(), kept.end());
        kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
        for (const size_t i : kept) points.push_back({x[i], y[i]});
        kept.clear();
    };
    int64_t column = -1;
    for (size_t i = 0; i < x.size(); ++i) {
        if (!finite(x[i], y[i])) continue;
        if (c.of(x[i]) != column) put(), column = c.of(x[i]);
        if (kept.empty()) kept = {i, i, i, i};
        if (y[i] < y[kept[1]]) kept[1] = i;
        if (y[i] > y[kept[2]]) kept[2] = i;
        kept[3] = i;
    }
    put();
    return points;
}

std::string line_chart(const ChartText& text, std::span<const ChartSeries> series, int64_t columns) {
    const Plot plot = plot_of(text, series);
    std::string svg = fmt::format(
        "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\" width=\"{}\" "
        "height=\"{}\" data-x0=\"{}\" "
        "data-x1=\"{}\" data-y0=\"{}\" data-y1=\"{}\" data-left=\"{}\" data-right=\"{}\" data-top=\"{}\" "
        "data-bottom=\"{}\"{}>\n",
        html_text(text.title), kWidth, kHeight, kWidth, kHeight, plot.x.low, plot.x.high, plot.y.low,
        plot.y.high, kLeft, kRight, kTop, kBottom, plot.log_y ? " data-log=\"1\"" : "");
    append_axes(svg, plot, text);
    int64_t not_finite = 0;
    for (const ChartSeries& s : series) not_finite += append_series(svg, plot, text, s, columns);
    if (not_finite > 0)
        svg += fmt::format("<text x=\"{}\" y=\"{}\">\xC3\x97 not finite: {} value{}</text>\n", kLeft,
                           kBottom + 34, grouped(not_finite), not_finite == 1 ? "" : "s");
    return svg + "</svg>\n";
}

}  // namespace adder
