#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kBenchSummary = "time ops and whole models";
void run_bench(App& app, const std::vector<std::string>& args);

}  // namespace adder
