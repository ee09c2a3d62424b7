// The page of `adder report`.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "apps/report_run.h"

namespace adder {

inline constexpr int64_t kMostPageBytes = 5'000'000;

// The whole document. Links are relative to `folder`, where the page will stand. Curves become coarser where
// the page would be larger than kMostPageBytes; what else makes it larger is said by the caller.
std::string report_page(std::span<const ReportEntry> entries, const std::string& folder);

}  // namespace adder
