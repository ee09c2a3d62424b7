// The curves of runs laid over each other, as a part of a page.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "apps/report_run.h"

namespace adder {

// By step, by tokens and by seconds, of which the reader chooses one: losses, gradient norm, learning rate,
// tokens/s. Runs have their colours in the order of `runs`. Empty where no run has rows. `columns`: as of
// line_chart.
std::string curve_section(std::span<const ReportEntry> runs, int64_t columns);
extern const char* const kCurveStyle;

}  // namespace adder
