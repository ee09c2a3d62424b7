#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kPrepareSummary = "read data once into a compact file that trains like its sources";
void run_prepare(App& app, const std::vector<std::string>& args);

}  // namespace adder
