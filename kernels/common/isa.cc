#include "kernels/common/isa.h"

#include <cblas.h>
#include <fmt/ranges.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "core/error.h"
#include "kernels/common/dispatched_target.h"

// OpenBLAS's own choice of kernels, when it was built with several (DYNAMIC_ARCH). Weak: other builds lack them.
extern "C" {
void gotoblas_dynamic_quit() __attribute__((weak));
void gotoblas_dynamic_init() __attribute__((weak));
}

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

// OpenBLAS knows processors by family, and gives AVX2 kernels to AVX-512 machines that are younger than its release
// (measured: 120 against 225 GFLOP/s a core). Its kernels follow the instruction set in use instead, which also makes
// the bits of a forced instruction set the same on every machine that has it. OPENBLAS_CORETYPE still wins.
void choose_blas_core() {
    static const bool chosen_by_user = std::getenv("OPENBLAS_CORETYPE") != nullptr;
    if (chosen_by_user || !gotoblas_dynamic_quit || !gotoblas_dynamic_init) return;
    const std::string isa = current_isa();
    const char* core = isa == "avx512" ? "SkylakeX" : isa == "avx2" ? "Haswell" : isa == "baseline" ? "Prescott" : nullptr;
    if (!core) return;
    setenv("OPENBLAS_CORETYPE", core, 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}

}  // namespace

void prepare_blas() {
    static std::once_flag once;
    std::call_once(once, [] {
        openblas_set_num_threads(1);
        choose_blas_core();
    });
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
    prepare_blas();
    if (name.empty()) {
        hwy::DisableTargets(0);
        return choose_blas_core();
    }
    for (int64_t target : compiled_targets()) {
        if (name_of_target(target) != name) continue;
        if (std::find(names.begin(), names.end(), name) == names.end()) break;
        hwy::DisableTargets(HWY_TARGETS & ~target);
        return choose_blas_core();
    }
    fail("isa '{}' is not available here: choose one of {}", name, fmt::join(names, ", "));
}

std::string openblas_core() {
    prepare_blas();
    return openblas_get_corename();
}

}  // namespace adder
