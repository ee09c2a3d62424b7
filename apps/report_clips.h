// Generated audio as a part of a page.
#pragma once
#include <span>
#include <string>

#include "apps/report_run.h"

namespace adder {

// HTML; empty where no entry has clips. Of each entry a link to its page of clips, relative to `folder`, and
// players of its first clips. What cannot be read is said in it.
std::string clip_section(std::span<const ReportEntry> entries, const std::string& folder);

}  // namespace adder
