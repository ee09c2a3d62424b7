// The machine that a command runs on, and the options by which every computing command chooses among its parts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/device.h"
#include "core/options.h"

namespace adder {

// Cores that this process may run on, at least 1.
int64_t usable_cores();
int64_t physical_memory_bytes();

struct MachineOptions {
    std::string device = "cpu";
    std::optional<int64_t> threads;
    std::string isa;

    void add_to(OptionList& list);
    // Chooses device and instruction set; works out `threads`. Call it before any input is read. Throws Error for a
    // device that this build or machine lacks, or that the command does not compute on, and for an instruction set that
    // this machine lacks.
    Device prepare(bool computes_on_gpu = false);
};

}  // namespace adder
