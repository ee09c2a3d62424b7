// `adder probe`: how well a linear classifier tells labels from embeddings, beside k-mers and the majority.
#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kProbeSummary =
    "classify embeddings by logistic regression, beside k-mers and the majority";
void run_probe(App& app, const std::vector<std::string>& args);

}  // namespace adder
