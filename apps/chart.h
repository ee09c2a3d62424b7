// Line charts as SVG elements that need no script to be read.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace adder {

struct ChartPoint {
    double x, y;
};

// At most 4 points for each of `columns` equal parts of the range of `x` (ascending; x.size() == y.size()):
// the first, the lowest, the highest and the last, as they follow on each other. Points that are not finite
// are left out.
std::vector<ChartPoint> thinned(std::span<const double> x, std::span<const double> y, int64_t columns);

struct ChartSeries {
    std::string name;
    int64_t colour = 0;            // of the page: c0, c1, ...; from the 9th on they repeat with dashes
    std::span<const double> x, y;  // `x` ascending
    bool is_sparse = false;        // few values, each marked by a dot
    bool hatched = false;          // a second kind of line of the same colour
};

struct ChartText {
    std::string title = {}, x_label = {}, y_label = {};
    bool log_y = false;      // where all values are above 0
    bool by_points = false;  // dots that no line joins
    bool diagonal = false;   // both axes alike, with the line y = x
};

// One <svg>. Values that are not finite stand as crosses at the upper edge and are counted below; series
// without a finite value have no line. Lines of many values are drawn twice: pale, with every extreme, and as
// a mean of neighbours. `columns` bounds the size: about 60 bytes each a series.
std::string line_chart(const ChartText& text, std::span<const ChartSeries> series, int64_t columns);

// Style and script of charts on a page: classes, and what is pointed at, and hiding by series name.
extern const char* const kChartStyle;
extern const char* const kChartScript;

}  // namespace adder
