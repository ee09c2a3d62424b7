// What `adder probe` prints: one row a feature set, for people and as JSON.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/classification.h"
#include "train/linear_probe.h"

namespace adder {

struct ProbeRow {
    std::string name;
    ClassificationMetrics metrics;
    std::vector<double> l2;  // chosen in each fold; empty where nothing was chosen
    int64_t candidate = 0;   // the feature set chosen most often, of equals the first
    int64_t k = 0;           // of k-mers; 0 for other features
};

ProbeRow probe_row(std::string name, const ProbeResult& result, int64_t n_classes);

struct ProbeTable {
    std::string heading;  // a line about the data
    std::vector<std::string> classes;
    ProbeRow majority, embedding;
    std::vector<ProbeRow> kmer;      // none or one
    std::vector<ProbeRow> compared;  // in the order in which they were asked for

    std::string text() const;
    nlohmann::ordered_json json() const;
};

}  // namespace adder
