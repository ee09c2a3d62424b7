#include "apps/cmd_selftest.h"

#include <fmt/ranges.h>

#include "apps/command_line.h"
#include "apps/run_options.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_table.h"

namespace adder {

namespace {

constexpr CommandText kText = {"selftest", kSelftestSummary, "adder selftest --isa avx2"};

// What depends on the machine: the values of the kernels in use, forward, backward and step, their cuts, and that the
// number of threads changes no bit.
CheckReport check(const OpCase& c, const RunOn& on) {
    CheckReport report = check_values(c, on);
    if (on.device == Device::cpu) report.add(check_threads(c));
    if (c.sequence) report.add(check_cuts(c, on));
    if (c.step) report.add(check_steps(c, on));
    return report;
}

// Where ops are checked, one after the other: on a GPU in both storage types.
std::vector<RunOn> runs(const cli::SelftestOptions& o, Gpu* gpu) {
    const int threads = static_cast<int>(*o.machine.threads);
    if (!gpu) return {{.threads = threads}};
    const RunOn f32{.device = Device::cuda, .gpu = gpu, .threads = threads};
    RunOn bf16 = f32;
    bf16.storage = DType::bf16;
    return {f32, bf16};
}

}  // namespace

void run_selftest(App& app, const std::vector<std::string>& args) {
    cli::SelftestOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (answered(app, kText, line, list, o.machine)) return;
    Machine machine(o.machine, app.console);
    Gpu* gpu = machine.gpu();
    if (!gpu)
        app.console.line(fmt::format("device cpu, isa {}, threads {}, OpenBLAS {}", current_isa(), *o.machine.threads,
                                     openblas_core()));
    std::string table = fmt::format("{:<18} {:>5} {:>12} {:>14}\n", "op", "cases", "comparisons", "error/allowed");
    std::vector<std::string> missed;
    for (const RunOn& on : runs(o, gpu))
        for (const OpEntry& op : all_ops()) {
            CheckReport report;
            int64_t n_cases = 0;
            for (const OpCase& c : op.cases()) {
                if (!(c.use & kSelftest) || (on.storage == DType::bf16 && !has_storage(c))) continue;
                report.add(check(c, on));
                ++n_cases;
            }
            if (n_cases == 0) continue;
            const std::string name = gpu ? fmt::format("{} {}", op.name, name_of(on.storage)) : op.name;
            table += fmt::format("{:<18} {:>5} {:>12} {:>14.3f} {}\n", name, n_cases, report.comparisons,
                                 report.worst_ratio, report.passed() ? "ok" : "MISS");
            for (const std::string& failure : report.failures) app.console.line(failure);
            if (!report.passed()) missed.push_back(name);
        }
    if (!missed.empty()) {
        app.console.line(table.substr(0, table.size() - 1));
        fail("selftest: {} ops miss their reference: {}", missed.size(), fmt::join(missed, ", "));
    }
    app.results = std::move(table);
}

}  // namespace adder
