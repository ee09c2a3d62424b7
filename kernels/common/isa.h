// Instruction sets that the CPU kernels can run on, and the linear algebra library's own choice.
#pragma once
#include <string>
#include <vector>

namespace adder {

// Names such as "avx3", "avx2", "sse2" (Highway's, in lower case): compiled in and usable on this machine, best first.
std::vector<std::string> supported_isas();

// The one that kernels use: the best, or the forced one.
std::string active_isa();

// Makes every kernel use `name` from now on; call before the first op. OpenBLAS keeps its own choice. Throws Error
// listing the names when it is not usable here.
void force_isa(const std::string& name);

// Version, core type and threading of OpenBLAS in its own words.
std::string blas_description();

}  // namespace adder
