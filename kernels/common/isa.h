// The instruction sets that the SIMD kernels of this binary can use on this machine.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace adder {

// Names, best first: of "avx512", "avx2", "baseline" on x86-64.
std::vector<std::string> available_isas();
// The one in use: the best one unless another was forced.
std::string current_isa();
// Uses `name` from now on ("" = the best one again). Not while kernels run. Throws Error naming the choices.
void force_isa(std::string_view name);
// Call before the first use of OpenBLAS, from any thread: one BLAS thread. Threaded OpenBLAS changes bits with the number
// of threads; our own pool cuts the work by shape.
void prepare_blas();
// The kernel set that OpenBLAS chose for this machine, for example "SkylakeX".
std::string openblas_core();

}  // namespace adder
