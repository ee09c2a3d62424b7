// adder report: one page about runs.
#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kReportSummary =
    "one self-contained HTML page about runs: curves, results, samples";
void run_report(App& app, const std::vector<std::string>& args);

}  // namespace adder
