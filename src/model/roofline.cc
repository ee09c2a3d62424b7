#include "model/roofline.h"

#include <algorithm>
#include <cstring>

namespace adder {

namespace {

// What an op reaches of the machine's limits. An op that is not listed moves its bytes at half the copy rate.
struct Efficiency {
    const char* op;
    bool matrix;  // counts against the rate of matrix products
    double flops, bytes;
};

constexpr Efficiency kEfficiency[] = {
    {"linear_forward", true, 0.7, 0.8},         {"linear_backward_input", true, 0.7, 0.8},
    {"linear_backward_weight", true, 0.5, 0.7}, {"scan_forward", false, 0.5, 0.5},
    {"scan_backward", false, 0.4, 0.5},         {"ssd_forward", true, 0.2, 0.5},
    {"ssd_backward", true, 0.2, 0.4},
};
constexpr Efficiency kOther{"", false, 0.5, 0.5};

}  // namespace

double predict_seconds(const OpCall& call, const Roofline& r) {
    const auto* found = std::find_if(std::begin(kEfficiency), std::end(kEfficiency),
                                     [&](const Efficiency& e) { return std::strcmp(e.op, call.name) == 0; });
    const Efficiency& e = found == std::end(kEfficiency) ? kOther : *found;
    const double rate = (e.matrix ? r.matrix_flops : r.vector_flops) * e.flops;
    const double moving = static_cast<double>(call.cost.bytes) / (r.bytes_per_s * e.bytes);
    const double computing = static_cast<double>(call.cost.flops) / rate;
    return r.launch_s + std::max(moving, computing);
}

}  // namespace adder
