// The U-Net backbone: stages of blocks at falling rates, each stage a stack down to the next and one up from it.
//
//   stage 0   blocks ── pool ─ ... ─ unpool ── blocks, last norm
//   stage 1             blocks ── pool ─ ... ─ unpool ── blocks
//   stage S                         blocks
//
// A pool makes p neighbouring rows one: norm, then a linear map of the p rows side by side to the width of the next stage.
// An unpool maps a coarse row to p rows of the stage above; they are those of the NEXT group, so that no row sees what comes
// after it, and a member's first group gets the map of zeros. They are added to the residual stream of the stage, which runs
// past the stages below: that is the skip. (Where rows are added to themselves after every block, as in the published code,
// the same terms have other weights.)
//
// State, beside the blocks': the open group, rows of the stream that wait for the rest of their group, and the pending coarse
// row, that of the last whole group. Members and tiles begin at multiples of stride(), the product of the pools; the last
// tile of a sequence may end anywhere. A step runs the stages whose group it completes.
//
// Parameters: stages.<i>.{down,up}.{layers.<k>.{norm.weight, mixer.*}, norm_f.weight}, stages.<i>.{pool,unpool}.{weight,
// bias}; innermost stage stages.<S>.{layers.<k>.*, norm_f.weight}. stages.0.up.norm_f is the model's last norm.
//
// Source: SaShiMi (Goel et al. 2022, arXiv 2202.09729, sections 3.2 and 4), with the blocks of Mamba (Gu & Dao 2023, arXiv
// 2312.00752, section 4.4.2).
#pragma once
#include <memory>

#include "model/config.h"
#include "model/layer.h"

namespace adder {

// x (B,T,M): embedded tokens; y (B,T,M): after the last norm.
std::unique_ptr<Layer> make_unet(const ModelConfig& config);

}  // namespace adder
