// How a sequence is cut into tiles, and the memory of everything that a training step uses: computed by a dry run, before
// any allocation.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/ctx.h"
#include "model/model.h"
#include "model/params.h"

namespace adder {

struct TileOptions {
    int64_t B = 1, L = 1;
    int64_t T = 0;      // tile length; 0 = chosen by `choose_tiles`
    int64_t keep = -1;  // tiles that are not computed again; -1 = chosen by `choose_tiles`
    bool evaluates = false;  // held-out tokens are scored between steps: memory for that is counted
    int64_t evaluation_bytes = 0;  // else: what the caller's own evaluation takes between steps
    friend bool operator==(const TileOptions&, const TileOptions&) = default;
};

// Bytes of everything that training uses, and the work of one step.
struct MemoryPlan {
    TileOptions tiles;
    int64_t n_tiles = 1;
    int64_t parameter_bytes = 0;  // masters, their bf16 copies, gradients
    int64_t optimizer_bytes = 0;  // first and second moments
    int64_t border_bytes = 0;     // states at tile borders: grows with L / T
    int64_t saved_tile_bytes = 0, saved_bytes = 0;  // of one kept tile, of all
    int64_t scratch_bytes = 0;
    int64_t batch_bytes = 0;      // tokens, targets, weights, flags: grows with L; on a GPU two packed batches and a tile
    int64_t evaluation_tile = 0, evaluation_bytes = 0;  // tokens a tile of a scorer, and what it takes
    int64_t context_bytes = 0;    // GPU only: what CUDA and its libraries take for themselves
    double step_flops = 0;        // of a micro-batch, recomputation included
    int64_t parameters = 0;       // elements

    struct Part {
        const char *key, *text;
        int64_t bytes;
    };
    std::array<Part, 8> parts() const;
    // "5.00 GiB, the most of it, 4.00 GiB, for tiles"
    std::string need_text() const;
    int64_t total_bytes() const;
};
// The plan that takes most memory of those of a run's stages; at least one.
const MemoryPlan& most_memory(std::span<const MemoryPlan> plans);

// A visitor that gives the parameters of a model shapes without memory while it lives: a dry run must work before
// anything is allocated.
class BindShapes : public ParamVisitor {
  public:
    explicit BindShapes(const Compute& compute) : compute_(compute) {}
    ~BindShapes() override;
    const ParamSizes& sizes() const { return sizes_; }

  private:
    void on_param(const ParamSpec& spec, Param& param) override;

    Compute compute_;
    ParamSizes sizes_;
    std::vector<std::pair<Param*, Param>> before_;
};
// State slots without memory, for a dry run.
std::vector<TensorRef> unbound_state(const StateSpec& spec, const Compute& compute);

// Tokens a tile where nothing has to be kept for a backward pass: few on the CPU, on a GPU enough to fill it.
int64_t score_tile(Device device, const ModelConfig& config);
// Bytes of a Session of one row that scores tiles of T tokens.
int64_t scoring_bytes(LanguageModel& model, const Compute& compute, int64_t T);
// The largest length of a tile that is not above T (but at least one stride of the model) and that can follow another.
int64_t whole_tile(const LanguageModel& model, int64_t T);
// The plan for exactly these tiles (T >= 1, keep >= 0 are clamped to what the length allows). Throws Error for tiles that do
// not begin at multiples of the model's stride.
MemoryPlan plan_training(LanguageModel& model, const Compute& compute, const TileOptions& tiles);
// Fills in T and keep where they are open: one tile if that fits into `memory_bytes`, else the longest power of two that
// does, keeping as many tiles as fit; a shorter one where that saves a sixteenth of the work, because more is kept. Throws
// OutOfMemory when nothing fits: with the need of the smallest plan, its largest part and what would fit.
MemoryPlan choose_tiles(LanguageModel& model, const Compute& compute, const TileOptions& tiles, int64_t memory_bytes);

// The largest length at this batch, a multiple of the model's stride, and the largest batch at this length for which there
// are tiles that fit, to less than 1 %; 0 = none.
struct LargestPlans {
    int64_t L, B;
};
LargestPlans largest_plans(LanguageModel& model, const Compute& compute, const TileOptions& tiles,
                           int64_t memory_bytes);
// "a length of 65536 at this batch or a batch of 2 at this length fits", in tiles that are chosen.
std::string what_fits(LanguageModel& model, const Compute& compute, const TileOptions& tiles, int64_t memory_bytes);

}  // namespace adder
