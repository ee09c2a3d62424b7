#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kPlanSummary = "what train would use: memory, tiles, time";
void run_plan(App& app, const std::vector<std::string>& args);

}  // namespace adder
