// What the timings of whole models share.
#pragma once
#include <algorithm>
#include <chrono>
#include <vector>

#include "apps/model_bench.h"
#include "model/model.h"
#include "pipelines/domain.h"
#include "pipelines/windows.h"
#include "train/batch_feed.h"

namespace adder {

inline constexpr int64_t kBenchVocabulary = 16;

// A model with initial weights.
struct BenchModel {
    BenchModel(const ModelCase& c, const Compute& compute, bool trained);
    LanguageModel model;
    ParamStore params;
};

// Batches that can be learned: a token follows from the one before it three times out of four.
class BenchTokens {
  public:
    BenchTokens(int64_t B, int64_t L, int64_t batches);
    // Step s gets batch s modulo their number.
    FillBatch fill() const;
    const uint16_t* ids(int64_t batch) const;

  private:
    std::vector<Batch> batches_;
};

// Batches of (B,L) from contigs of at least this length, made up, drawn as training draws them.
class BenchWindows {
  public:
    BenchWindows(int64_t B, int64_t L, int64_t contig_length);
    void fill(int64_t step, Batch& batch) const { sampler_.fill(step, 0, batch); }

  private:
    std::vector<TokenRecord> records_;
    std::unique_ptr<const Tokenizer> tokenizer_;
    WindowSampler sampler_;
};

using BenchClock = std::chrono::steady_clock;

inline double ms_since(BenchClock::time_point begin) {
    return std::chrono::duration<double, std::milli>(BenchClock::now() - begin).count();
}

// Best and median of `runs` times that `once` returns, in ms, fewer when they add up to `enough_ms`.
template <class F>
void take_times(int64_t runs, double enough_ms, F once, ModelTiming& timing) {
    std::vector<double> ms;
    const auto begin = BenchClock::now();
    while (static_cast<int64_t>(ms.size()) < runs && (ms.empty() || ms_since(begin) < enough_ms)) ms.push_back(once());
    std::sort(ms.begin(), ms.end());
    timing.best_ms = ms.front();
    timing.median_ms = ms[ms.size() / 2];
    timing.runs = static_cast<int64_t>(ms.size());
}

ModelTiming time_training(const ModelCase& c, const Compute& compute, const cli::BenchOptions& options);
ModelTiming time_loader(const ModelCase& c, int64_t runs);

}  // namespace adder
