// adder predict: the class of every record, and how likely each class is.
#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kPredictSummary = "the class of every record, and how likely each class is";
void run_predict(App& app, const std::vector<std::string>& args);

}  // namespace adder
