// adder finetune: give a model classes: train a head on the pooled states of labelled records.
#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kFinetuneSummary = "give a model classes: train a head on the pooled states of labelled records";
void run_finetune(App& app, const std::vector<std::string>& args);

}  // namespace adder
