#pragma once
#include <string>
#include <vector>

#include "apps/app.h"

namespace adder {

inline constexpr const char* kInfoSummary = "describes this binary and this machine";
void run_info(App& app, const std::vector<std::string>& args);

}  // namespace adder
