// The audio domain: sound files in, one or two tokens a sample.
#pragma once
#include "pipelines/domain.h"

namespace adder::audio {

extern const Domain kDomain;

}  // namespace adder::audio
