#include "apps/classification_report.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"

namespace adder {

Scored score_classes(std::span<const LabelledRecord> records, const std::vector<double>& logs, int64_t n_classes) {
    const auto C = static_cast<size_t>(n_classes);
    CHECK(logs.size() == records.size() * C);
    Scored scored;
    std::vector<int32_t> truth;
    std::vector<double> probabilities;
    for (size_t i = 0; i < records.size(); ++i) {
        truth.push_back(records[i].label);
        scored.nats -= logs[i * C + records[i].label];
        for (size_t c = 0; c < C; ++c) probabilities.push_back(std::exp(logs[i * C + c]));
    }
    scored.metrics = classification_metrics(truth, probabilities, n_classes);
    return scored;
}

std::string metrics_text(const ClassificationMetrics& m) {
    return fmt::format("accuracy {:.4f}, macro-F1 {:.4f}, MCC {:.4f}, AUROC {:.4f}", m.accuracy, m.macro_f1, m.mcc, m.auroc);
}

nlohmann::ordered_json metrics_json(const Scored& scored, const std::vector<std::string>& classes) {
    const ClassificationMetrics& m = scored.metrics;
    nlohmann::ordered_json json = {{"accuracy", m.accuracy}, {"macro_f1", m.macro_f1}, {"mcc", m.mcc}, {"auroc", m.auroc},
                                   {"n", m.n}, {"nats_per_record", scored.nats / static_cast<double>(m.n)},
                                   {"classes", classes}};
    auto& rows = json["confusion"] = nlohmann::ordered_json::array();
    const auto C = static_cast<int64_t>(classes.size());
    for (int64_t c = 0; c < C; ++c)
        rows.push_back(std::vector<int64_t>(m.confusion.begin() + c * C, m.confusion.begin() + (c + 1) * C));
    return json;
}

}  // namespace adder
