// How good a classifier is, as a user reads it: JSON, lines, a picture.
#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "pipelines/members.h"
#include "train/classification.h"

namespace adder {

struct Scored {
    double nats = 0;  // of all records together
    ClassificationMetrics metrics;
};

// `logs` (n,C): logarithms of probabilities. n >= 1.
Scored score_classes(std::span<const LabelledRecord> records, const std::vector<double>& logs, int64_t n_classes);

// "accuracy 0.9512, macro-F1 ..., MCC ..., AUROC ..."
std::string metrics_text(const ClassificationMetrics& m);
// {"accuracy","macro_f1","mcc","auroc","n","nats_per_record","classes","confusion"}; an AUROC that is not defined is null.
nlohmann::ordered_json metrics_json(const Scored& scored, const std::vector<std::string>& classes);

}  // namespace adder
