#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kSelftestSummary = "compare every op with its reference on this machine";
void run_selftest(App& app, const std::vector<std::string>& args);

}  // namespace adder
