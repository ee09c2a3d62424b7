#include "kernels/common/isa.h"

#include <cblas.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cctype>

#include "core/error.h"

namespace adder {

namespace {

std::string name_of_target(int64_t target) {
    std::string name = hwy::TargetName(target);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    return name;
}

}  // namespace

// Highway gives better targets lower bits.
std::vector<std::string> supported_isas() {
    std::vector<std::string> names;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) names.push_back(name_of_target(target));
    return names;
}

std::string active_isa() { return supported_isas().front(); }

void force_isa(const std::string& name) {
    for (const int64_t target : hwy::SupportedAndGeneratedTargets())
        if (name_of_target(target) == name) {
            hwy::DisableTargets(target - 1);
            return;
        }
    std::string names;
    for (const std::string& isa : supported_isas()) names += (names.empty() ? "" : ", ") + isa;
    fail("--isa {}: not usable on this machine; it has {}", name, names);
}

std::string blas_description() {
    std::string text = openblas_get_config();
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
}

}  // namespace adder
