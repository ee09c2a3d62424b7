// Generated DNA as a part of a page: the letters, and what they are made of beside what the model was trained
// on.
#pragma once
#include <span>
#include <string>

#include "apps/report_run.h"

namespace adder {

// HTML; empty where no entry has samples. What cannot be read is said in it.
std::string sample_section(std::span<const ReportEntry> entries);

}  // namespace adder
