#include "core/gpu_code.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"

namespace adder {

namespace {

// The oldest GPU that the kernels are written for.
constexpr int kOldestMajor = 8;

GpuCode code_of_one(const std::string& one, int major, int minor) {
    const int mine = major * 10 + minor, built = std::atoi(one.c_str());
    const size_t suffix = one.find_first_not_of("0123456789");
    const bool ptx = one.find("-real") == std::string::npos,
               finished = one.find("-virtual") == std::string::npos;
    if (suffix != std::string::npos && one[suffix] != '-') {  // 90a, 100f: for this GPU alone
        if (built != mine) return GpuCode::none;
        return finished ? GpuCode::finished : GpuCode::ptx;
    }
    if (finished && built / 10 == major && built <= mine) return GpuCode::finished;
    return ptx && built <= mine ? GpuCode::ptx : GpuCode::none;
}

}  // namespace

GpuCode gpu_code(const std::string& architectures, int major, int minor) {
    GpuCode best = GpuCode::none;
    for (size_t at = 0; at < architectures.size();) {
        const size_t end = std::min(architectures.find_first_of(",;", at), architectures.size());
        best = std::max(best, code_of_one(architectures.substr(at, end - at), major, minor));
        at = end + 1;
    }
    return best;
}

std::string gpu_code_problem(const GpuInfo& gpu, const std::string& architectures) {
    const auto version = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
    if (gpu.major < kOldestMajor)
        return fmt::format("{} has compute capability {}.{}, {}.0 is needed; hint: --device cpu", gpu.name,
                           gpu.major, gpu.minor, kOldestMajor);
    const GpuCode code = gpu_code(architectures, gpu.major, gpu.minor);
    if (code == GpuCode::none)
        return fmt::format(
            "{} has compute capability {}.{}, this program was built for {}; hint: ./adder.sh build cuda on "
            "this machine, or --device cpu",
            gpu.name, gpu.major, gpu.minor, architectures);
    if (code == GpuCode::ptx && gpu.driver < gpu.runtime)
        return fmt::format(
            "this program, built for {}, has to be compiled by the driver for {}, and the driver knows CUDA "
            "{}, not {}; hint: ./adder.sh build cuda on this machine, a newer driver, or --device cpu",
            architectures, gpu.name, version(gpu.driver), version(gpu.runtime));
    return "";
}

}  // namespace adder
