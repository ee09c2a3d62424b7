#include "apps/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/common/isa.h"

namespace adder {

int64_t usable_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
}

int64_t physical_memory_bytes() {
    return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGE_SIZE));
}

void MachineOptions::add_to(OptionList& list) {
    list.add({.name = "device", .value = &device, .unit = "cpu|cuda", .help = "where to compute",
              .on_resume = OnResume::any});
    list.add({.name = "threads", .value = &threads, .unit = "N",
              .help = "processor threads; their number never changes a result", .range = between(1, 1024),
              .on_resume = OnResume::any, .derived = "all cores"});
    list.add({.name = "isa", .value = &isa, .unit = "NAME",
              .help = "force an instruction set of the processor; adder --version lists them",
              .on_resume = OnResume::any, .derived = "the best"});
}

Device MachineOptions::prepare(bool computes_on_gpu) {
    const bool cuda = device == "cuda";
    if (cuda) {
        if (const std::string problem = gpu_problem(); !problem.empty()) fail("--device cuda: {}", problem);
        if (!computes_on_gpu) fail("--device cuda: this command computes on the CPU; hint: leave --device out");
    }
    if (!isa.empty()) force_isa(isa);
    if (!threads) threads = usable_cores();
    return cuda ? Device::cuda : Device::cpu;
}

}  // namespace adder
