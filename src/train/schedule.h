// What changes with the step number: learning rate and sequence length. Steps count finished updates, from 1.
#pragma once
#include <cstdint>
#include <vector>

#include "core/batch.h"

namespace adder {

struct LearningRate {
    double peak = 1e-3;
    int64_t steps = 1;             // S, of the whole run
    double warmup_fraction = 0.1;  // of S
    double final_fraction = 0.1;   // of the peak
};

// With W = round(warmup_fraction S), at least 1 unless the fraction is 0, and r = final_fraction:
//   step <= W:  peak step / W
//   step >  W:  peak (r + (1 - r) (1 + cos(pi (step - W) / (S - W))) / 2)
// so the peak is at W and r peak at S, where it stays. Linear warm-up and cosine decay to a tenth are the recipe of
// arXiv 2312.00752, appendix E.2.1, and of GPT-3 (arXiv 2005.14165, appendix B). Throws Error for step < 1 or S < 1.
double learning_rate(const LearningRate& schedule, int64_t step);

// Sequence-length warm-up (Li, Zhang and He, arXiv 2108.06084): the lengths of `warmup` (their B is ignored), then L.
// Every stage has B L tokens a step; the last stage is of (L, B) and has no end (until_step is the largest integer).
// Throws Error naming the stage whose end or length does not grow, or whose length does not divide B L.
std::vector<LengthStage> length_stages(const std::vector<LengthStage>& warmup, int64_t L, int64_t B);

// The stage of `step`, counted from 1.
const LengthStage& stage_at(const std::vector<LengthStage>& stages, int64_t step);

}  // namespace adder
