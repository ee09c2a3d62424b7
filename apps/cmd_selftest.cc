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
CheckReport check(const OpCase& c, int threads) {
    CheckReport report = check_values(c, {.threads = threads});
    report.add(check_threads(c));
    if (c.sequence) report.add(check_cuts(c));
    if (c.step) report.add(check_steps(c));
    return report;
}

}  // namespace

void run_selftest(App& app, const std::vector<std::string>& args) {
    cli::SelftestOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) return void(app.results = config_text(list));
    o.machine.prepare();

    const int threads = static_cast<int>(*o.machine.threads);
    app.console.line(fmt::format("device {}, isa {}, threads {}, OpenBLAS {}", o.machine.device, current_isa(), threads,
                                 openblas_core()));
    std::string table = fmt::format("{:<14} {:>5} {:>12} {:>14}\n", "op", "cases", "comparisons", "error/allowed");
    std::vector<std::string> missed;
    for (const OpEntry& op : all_ops()) {
        CheckReport report;
        int64_t n_cases = 0;
        for (const OpCase& c : op.cases()) {
            if (!(c.use & kSelftest)) continue;
            report.add(check(c, threads));
            ++n_cases;
        }
        table += fmt::format("{:<14} {:>5} {:>12} {:>14.3f} {}\n", op.name, n_cases, report.comparisons,
                             report.worst_ratio, report.passed() ? "ok" : "MISS");
        for (const std::string& failure : report.failures) app.console.line(failure);
        if (!report.passed()) missed.push_back(op.name);
    }
    if (!missed.empty()) {
        app.console.line(table.substr(0, table.size() - 1));
        fail("selftest: {} of {} ops miss their reference: {}", missed.size(), all_ops().size(), fmt::join(missed, ", "));
    }
    app.results = std::move(table);
}

}  // namespace adder
