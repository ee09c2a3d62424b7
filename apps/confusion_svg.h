// A confusion matrix as a picture.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace adder {

// An SVG element, complete in itself (a file, or inside an HTML page): rows are the true classes, columns the predicted
// ones, darker where a larger share of a row stands; counts stand in the cells of up to 30 classes, and every cell says
// what it is when pointed at. `confusion` (C,C) row by row, as ClassificationMetrics has it; C = classes.size() >= 1.
std::string confusion_svg(const std::vector<std::string>& classes, std::span<const int64_t> confusion);

}  // namespace adder
