// What was measured of trained models, as parts of a page: bits beside baselines, probes, classifiers.
#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "apps/report_run.h"

namespace adder {

// HTML; empty where no entry has such a result. Each part names its entry.
std::string evaluation_section(std::span<const ReportEntry> entries);
std::string probe_section(std::span<const ReportEntry> entries);
std::string classifier_section(std::span<const ReportEntry> entries);

// {"bits_per_base": {"model", "order_2", ...}, "probe": {"model", "random_init", ..., "kmer": each
// {"accuracy","mcc","auroc"}, "majority": accuracy, "test": examples}} of the first run that has eval.json or
// probe.json and is not of audio, else of the first single files; what was not measured is left out. Throws
// Error where there is neither.
OrderedJson results_json(std::span<const ReportEntry> entries);

}  // namespace adder
