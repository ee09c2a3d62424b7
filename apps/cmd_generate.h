#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kGenerateSummary = "sample sequences from a model";
void run_generate(App& app, const std::vector<std::string>& args);

}  // namespace adder
