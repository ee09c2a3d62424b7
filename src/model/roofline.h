// How long ops take on a machine that does nothing but move bytes and multiply: the prediction of `plan`.
#pragma once
#include "kernels/common/run_op.h"

namespace adder {

struct Roofline {
    double bytes_per_s = 0;   // of device memory, copying
    double matrix_flops = 0;  // a second, of large matrix products in the storage type
    double vector_flops = 0;  // a second, f32
    double launch_s = 2e-6;   // what a call costs however small it is
};

// The larger of moving and computing, at the efficiency that the op reaches, and the launch.
double predict_seconds(const OpCall& call, const Roofline& roofline);

}  // namespace adder
