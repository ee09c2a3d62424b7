// Mamba-1 mixer: in_proj -> causal conv + SiLU -> (x_proj, dt_proj) -> selective scan with gate -> out_proj.
// Source: Gu & Dao 2023 (arXiv 2312.00752), section 3.4 and figure 3; names, shapes and initialisation of
// state-spaces/mamba (Mamba).
#pragma once
#include <memory>

#include "model/config.h"
#include "model/layer.h"

namespace adder {

std::unique_ptr<Layer> make_mamba1(const ModelConfig& config);

}  // namespace adder
