// How a sequence is cut into tiles, and the memory of everything that a training step uses: computed by a dry run, before
// any allocation.
#pragma once
#include <cstdint>
#include <string>

#include "core/ctx.h"
#include "model/model.h"
#include "model/roofline.h"

namespace adder {

struct TileOptions {
    int64_t B = 1, L = 1;
    int64_t T = 0;      // tile length; 0 = chosen by `choose_tiles`
    int64_t keep = -1;  // tiles that are not computed again; -1 = chosen by `choose_tiles`
    friend bool operator==(const TileOptions&, const TileOptions&) = default;
};

// Bytes of everything a training step uses, and the work of one step.
struct MemoryPlan {
    TileOptions tiles;
    int64_t n_tiles = 1;
    int64_t parameter_bytes = 0;  // masters, their bf16 copies, gradients
    int64_t optimizer_bytes = 0;  // first and second moments
    int64_t border_bytes = 0;     // states at tile borders: grows with L / T
    int64_t saved_tile_bytes = 0, saved_bytes = 0;  // of one kept tile, of all
    int64_t scratch_bytes = 0;
    int64_t batch_bytes = 0;      // tokens, targets, weights, flags: grows with L; on a GPU two packed batches and a tile
    int64_t context_bytes = 0;    // GPU only: what CUDA and its libraries take for themselves
    double step_flops = 0;        // of a micro-batch, recomputation included
    double step_seconds = 0;      // the same, as predicted; 0 where no Roofline was given
    int64_t parameters = 0;       // elements
    int64_t total_bytes() const {
        return parameter_bytes + optimizer_bytes + border_bytes + saved_bytes + scratch_bytes + batch_bytes +
               context_bytes;
    }
};

// The largest length of a tile that is not above T (but at least one stride of the model) and that can follow another.
int64_t whole_tile(const LanguageModel& model, int64_t T);
// The plan for exactly these tiles (T >= 1, keep >= 0 are clamped to what the length allows). Throws Error for tiles that do
// not begin at multiples of the model's stride.
MemoryPlan plan_training(LanguageModel& model, const Compute& compute, const TileOptions& tiles,
                         const Roofline* roofline = nullptr);
// Fills in T and keep where they are open: one tile if that fits into `memory_bytes`, else the longest power of two that
// does, keeping as many tiles as fit. Throws Error with the need of the smallest plan when nothing fits.
MemoryPlan choose_tiles(LanguageModel& model, const Compute& compute, const TileOptions& tiles, int64_t memory_bytes);
// "a length of 65536 at this batch or a batch of 2 at this length fits": powers of two.
std::string what_fits(LanguageModel& model, const Compute& compute, const TileOptions& tiles, int64_t memory_bytes);

}  // namespace adder
