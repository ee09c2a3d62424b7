// The machine that a command runs on, and the options by which every computing command chooses among its parts.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "apps/app.h"
#include "apps/command_line.h"
#include "apps/console.h"
#include "core/ctx.h"
#include "core/options.h"

namespace adder {

// Cores that this process may run on, at least 1.
int64_t usable_cores();
int64_t physical_memory_bytes();

struct MachineOptions {
    std::string device;  // empty = a GPU where there is a usable one
    std::string dtype;   // empty = f32 on the CPU, bf16 on a GPU
    std::optional<int64_t> threads;
    std::string isa;
    std::string why_cpu;  // no option: what kept an open device from being the GPU

    void add_to(OptionList& list);
    void add_dtype_to(OptionList& list);
    // Decides which device it is where that is open. Throws UsageError for a type in which it does not compute.
    void choose_device();
    // Fills in everything that is open, for --print-config.
    void show();
};

// What a command computes with: threads, and a GPU where it was chosen.
class Machine {
  public:
    // Make it before any input is read. Works out `threads`; says on the console when a GPU is used, or why
    // none is in a build with CUDA. Throws Error for a device or an instruction set that this build or
    // machine lacks.
    Machine(MachineOptions& options, Console& console);

    Device device() const { return gpu_ ? Device::cuda : Device::cpu; }
    Gpu* gpu() const { return gpu_.get(); }
    ThreadPool& pool() { return pool_; }
    // In the type that the options ask for, or else in that of the device.
    Compute compute();
    Compute compute(DType storage);
    // "NVIDIA H200", "cpu".
    std::string name() const;
    // What bits depend on beside the device: the instruction set, of a GPU "sm_90".
    std::string isa() const;

  private:
    MachineOptions& options_;
    std::unique_ptr<Gpu> gpu_;
    ThreadPool pool_;
};

// What training may take where --memory does not say: 90 % of what is free on a GPU, half of the machine's otherwise.
int64_t default_memory_bytes(Device device);

// Answers --help and --print-config of a command that computes; false where neither is asked for.
bool answered(App& app, const CommandText& text, const CommandLine& line, const OptionList& list, MachineOptions& machine);

}  // namespace adder
