// The flat backbone: blocks add -> norm -> mixer on a residual stream in the accumulation type, then a last norm.
// Source: the block order of state-spaces/mamba (Block, MixerModel).
#pragma once
#include <memory>

#include "model/config.h"
#include "model/layer.h"

namespace adder {

// x (B,T,M): embedded tokens; y (B,T,M): after the last norm.
std::unique_ptr<Layer> make_stack(const ModelConfig& config);

}  // namespace adder
