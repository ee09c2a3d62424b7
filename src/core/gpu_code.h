// Whether a program's CUDA code runs on a GPU: decided from names and version numbers alone, so that it holds
// without one.
#pragma once
#include <string>

#include "core/device.h"

namespace adder {

// What a program has for a GPU: nothing, PTX that the driver compiles when it is first used, or finished
// code.
enum class GpuCode { none, ptx, finished };

// For compute capability `major.minor`. `architectures` is CMake's list, with commas or semicolons:
// "90a-real" is finished code for 9.0 alone, "80-virtual" PTX for 8.0 and newer, "80-real" finished code
// for 8.x from 8.0 on, a bare number both.
GpuCode gpu_code(const std::string& architectures, int major, int minor);

// Why a program of these architectures, built with CUDA `gpu.runtime`, does not run on `gpu`, as one line
// with a remedy; empty = it does. A driver reads PTX of its own CUDA version and of older ones, finished code
// of its whole major version.
std::string gpu_code_problem(const GpuInfo& gpu, const std::string& architectures);

}  // namespace adder
