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

int64_t default_memory_bytes(Device device) {
    return device == Device::cuda ? usable_bytes(gpu_free_bytes()) : physical_memory_bytes() / 2;
}

void MachineOptions::add_to(OptionList& list) {
    list.add({.name = "device", .value = &device, .unit = "cpu|cuda", .help = "where to compute",
              .on_resume = OnResume::any, .derived = "cuda where there is a usable GPU, else cpu"});
    list.add({.name = "threads", .value = &threads, .unit = "N",
              .help = "processor threads; their number never changes a result", .range = between(1, 1024),
              .on_resume = OnResume::any, .derived = "all cores"});
    list.add({.name = "isa", .value = &isa, .unit = "NAME",
              .help = "force an instruction set of the processor; adder --version lists them",
              .on_resume = OnResume::any, .derived = "the best"});
}

void MachineOptions::add_dtype_to(OptionList& list) {
    list.add({.name = "dtype", .value = &dtype, .unit = "f32|bf16", .help = "storage of weights and activations",
              .derived = "f32 on the CPU, bf16 on a GPU"});
}

void MachineOptions::choose_device() {
    if (device.empty()) {
        why_cpu = gpu_problem();
        device = name_of(why_cpu.empty() ? Device::cuda : Device::cpu);
    }
    if (device == "cpu" && dtype == "bf16")
        throw UsageError("--dtype: expected f32, the type of --device cpu, got 'bf16'");
}

void MachineOptions::show() {
    choose_device();
    if (dtype.empty()) dtype = device == "cuda" ? "bf16" : "f32";
}

namespace {

int decide(MachineOptions& o) {
    o.choose_device();
    if (o.device == "cuda")
        if (const std::string problem = gpu_problem(); !problem.empty()) fail("--device cuda: {}", problem);
    if (!o.isa.empty()) force_isa(o.isa);
    if (!o.threads) o.threads = usable_cores();
    return static_cast<int>(*o.threads);
}

}  // namespace

Machine::Machine(MachineOptions& options, Console& console) : options_(options), pool_(decide(options)) {
    if (options.device != "cuda") {
        // Who has built it with CUDA expects a GPU.
        if (!options.why_cpu.empty() && !gpu_architectures().empty())
            console.line(fmt::format("device cpu ({})", options.why_cpu));
        return;
    }
    gpu_ = std::make_unique<Gpu>();
    console.line("device cuda: " + gpu_->info().name);
}

Compute Machine::compute() {
    const bool bf16 = gpu_ && options_.dtype != "f32";
    return compute(bf16 ? DType::bf16 : DType::f32);
}

Compute Machine::compute(DType storage) { return {device(), storage, &pool_, gpu_.get()}; }

std::string Machine::name() const { return gpu_ ? gpu_->info().name : "cpu"; }

std::string Machine::isa() const {
    return gpu_ ? fmt::format("sm_{}{}", gpu_->info().major, gpu_->info().minor) : current_isa();
}

bool answered(App& app, const CommandText& text, const CommandLine& line, const OptionList& list, MachineOptions& machine) {
    if (line.help) {
        app.results = help_text(text, list);
    } else if (line.print_config) {
        machine.show();
        app.results = config_text(list);
    }
    return line.help || line.print_config;
}

}  // namespace adder
