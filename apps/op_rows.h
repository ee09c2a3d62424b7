// Rows of `adder bench` for single ops.
#pragma once
#include <string>

#include "apps/app.h"
#include "apps/run_options.h"
#include "core/device.h"
#include "core/threads.h"

namespace adder {

// What every row says about where it was measured.
struct BenchMachine {
    std::string device, isa;  // isa: on a GPU its compute capability
    int64_t threads = 1;
    Gpu* gpu = nullptr;
};

// Whether --filter and OP choose this row.
bool chosen(const cli::BenchOptions& options, const std::string& name, const std::string& title);

// A table, or one JSON object a line; "" when no case is chosen. Cases that do not fit on the GPU are left out with a
// word on the console.
std::string bench_ops(App& app, const cli::BenchOptions& options, const BenchMachine& machine, ThreadPool& pool);

// "12.34", "-" for 0.
std::string milliseconds(double ms);

}  // namespace adder
