#include "kernels/common/isa.h"

#include <cblas.h>
#include <fmt/ranges.h>
#include <hwy/targets.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/common/dispatched_target.h"

namespace adder {

namespace {

// Targets that the kernels are compiled for, best first (Highway numbers them in that order).
std::vector<int64_t> compiled_targets() {
    std::vector<int64_t> all;
    for (int64_t rest = HWY_TARGETS; rest != 0; rest &= rest - 1) all.push_back(rest & ~(rest - 1));
    return all;
}

std::string name_of_target(int64_t target) {
    if (target == HWY_STATIC_TARGET) return "baseline";
#if HWY_ARCH_X86
    if (target == HWY_AVX3) return "avx512";
    if (target == HWY_AVX2) return "avx2";
#endif
    return hwy::TargetName(target);
}

}  // namespace

void prepare_blas() {
    static const bool once = (openblas_set_num_threads(1), true);
    static_cast<void>(once);
}

std::vector<std::string> available_isas() {
    // What the machine has, whatever is forced: Highway has no query that ignores the forced set.
    static const std::vector<std::string> names = [] {
        hwy::DisableTargets(0);
        std::vector<std::string> all;
        for (int64_t target : compiled_targets())
            if (target == HWY_STATIC_TARGET || (hwy::SupportedTargets() & target))
                all.push_back(name_of_target(target));
        return all;
    }();
    return names;
}

std::string current_isa() { return name_of_target(dispatched_target()); }

void force_isa(std::string_view name) {
    const std::vector<std::string> names = available_isas();
    if (name.empty()) return hwy::DisableTargets(0);
    for (int64_t target : compiled_targets()) {
        if (name_of_target(target) != name) continue;
        if (std::find(names.begin(), names.end(), name) == names.end()) break;
        return hwy::DisableTargets(HWY_TARGETS & ~target);
    }
    fail("isa '{}' is not available here: choose one of {}", name, fmt::join(names, ", "));
}

std::string openblas_core() {
    return openblas_get_corename();
}

}  // namespace adder
