#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kTrainSummary = "train a model";
void run_train(App& app, const std::vector<std::string>& args);

}  // namespace adder
