#pragma once
#include "apps/app.h"

namespace adder {

inline constexpr const char* kEmbedSummary = "turn sequences or regions into vectors, in an HDF5 file";
void run_embed(App& app, const std::vector<std::string>& args);

}  // namespace adder
