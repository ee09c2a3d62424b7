#include "core/device.h"
#include "core/error.h"

namespace adder {

std::string describe(const FaultWord& w) {
    switch (w.fault) {
        case Fault::none: return "";
        case Fault::token_id:
            return fmt::format(
                "[embedding] ids: {} is outside the vocabulary, in row {} at position {} of its tile",
                w.value, w.row, w.position);
        case Fault::target:
            return fmt::format(
                "[cross_entropy] targets: {} is outside the vocabulary where the weight is not 0, in row {} "
                "at position {} of its tile",
                w.value, w.row, w.position);
        case Fault::logits:
            if (w.value < 0) return fmt::format("[sample] no token is allowed in row {}", w.row);
            return fmt::format("[sample] the logit of token {} is not finite in row {}: the model's parameters are damaged",
                               w.value, w.row);
        case Fault::weight:
            return fmt::format(
                "[cross_entropy] weights: expected numbers >= 0, in row {} at position {} of its tile", w.row,
                w.position);
    }
    return "";
}

}  // namespace adder
