// Mamba-2 mixer: in_proj -> causal conv + SiLU over (x, B, C) -> SSD -> gated RMSNorm -> out_proj.
// Source: Dao & Gu 2024 (arXiv 2405.21060), section 7 and figure 6; names, shapes and initialisation of
// state-spaces/mamba (Mamba2).
#pragma once
#include <memory>

#include "model/config.h"
#include "model/layer.h"

namespace adder {

std::unique_ptr<Layer> make_mamba2(const ModelConfig& config);

}  // namespace adder
