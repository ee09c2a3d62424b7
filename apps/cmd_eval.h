#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kEvalSummary = "score sequences: nats and bits per token";
void run_eval(App& app, const std::vector<std::string>& args);

}  // namespace adder
