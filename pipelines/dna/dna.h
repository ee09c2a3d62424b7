// The DNA domain: FASTA in, one token a base.
#pragma once
#include "pipelines/domain.h"

namespace adder::dna {

extern const Domain kDomain;

}  // namespace adder::dna
