#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"

namespace adder {

double learning_rate(const LearningRate& s, int64_t step) {
    if (s.steps < 1 || step < 1) fail("[schedule] step {} of {}: both must be at least 1", step, s.steps);
    const double exact = s.warmup_fraction * static_cast<double>(s.steps);
    const int64_t warmup =
        s.warmup_fraction > 0 ? std::clamp<int64_t>(std::llround(exact), 1, s.steps) : 0;
    if (step <= warmup) return s.peak * static_cast<double>(step) / static_cast<double>(warmup);
    if (step >= s.steps) return s.peak * s.final_fraction;
    const double done = static_cast<double>(step - warmup) / static_cast<double>(s.steps - warmup);
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * done));
    return s.peak * (s.final_fraction + (1 - s.final_fraction) * cosine);
}

std::vector<LengthStage> length_stages(const std::vector<LengthStage>& warmup, int64_t L, int64_t B) {
    std::vector<LengthStage> stages;
    LengthStage before;
    for (LengthStage stage : warmup) {
        if (stage.until_step <= before.until_step || stage.L <= before.L || stage.L >= L)
            fail("[schedule] length warm-up: stage until step {} of length {} must come later and be longer than the "
                 "one before, and shorter than {}", stage.until_step, stage.L, L);
        if (B * L % stage.L != 0)
            fail("[schedule] length warm-up: {} does not divide the {} x {} tokens of a step", stage.L, B, L);
        stage.B = B * L / stage.L;
        stages.push_back(stage);
        before = stage;
    }
    stages.push_back({std::numeric_limits<int64_t>::max(), L, B});
    return stages;
}

const LengthStage& stage_at(const std::vector<LengthStage>& stages, int64_t step) {
    const auto stage = std::find_if(stages.begin(), stages.end(),
                                    [&](const LengthStage& s) { return step <= s.until_step; });
    CHECK(step >= 1 && stage != stages.end());
    return *stage;
}

}  // namespace adder
