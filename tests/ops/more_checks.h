// Checks that every op passes beside those of op_check.h, on the same tables.
#pragma once
#include "kernels/common/op_check.h"

namespace adder {

// The reference's backward against the complex step of its forward (relative 1e-10): one random direction for
// each differentiable argument and 16 single elements of it.
CheckReport check_gradients(const OpCase& c);
// A NaN in an input or cotangent comes out wherever the reference lets it out, and in no other row and past
// no start; in a parameter, it comes out somewhere in every array in which the reference lets it out.
CheckReport check_nan(const OpCase& c, const RunOn& on = {});
bool can_hold_nan(const OpCase& c);  // else there is nothing to check
// Wrong shapes throw an Error with both shapes in the text, without any memory, so before anything runs; a storage type
// that the device lacks throws too, bf16 on the CPU by naming the device that has it.
CheckReport check_errors(const OpCase& c, const RunOn& on = {});

}  // namespace adder
