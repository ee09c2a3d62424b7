#include "apps/cmd_prepare.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/output_file.h"
#include "apps/run_options.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/bytes_text.h"
#include "core/interrupted.h"
#include "core/json_text.h"
#include "pipelines/store.h"
#include "pipelines/record_names.h"

namespace adder {

namespace {

constexpr CommandText kText = {"prepare", kPrepareSummary,
                               "adder prepare --domain dna --input genomes/ --out genomes.h5\n"
                               "adder train --domain dna --input genomes.h5 --out run"};

using Json = nlohmann::ordered_json;

Json summary(const Dataset& data, const std::string& path) {
    int64_t n_symbols = 0;
    for (const TokenRecord& r : data.records) n_symbols += static_cast<int64_t>(r.symbols.size());
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path));
    return {{"file", path},
            {"records", data.records.size()},
            {"symbols", n_symbols},
            {"bytes", bytes},
            {"bits_per_symbol", n_symbols > 0 ? 8 * static_cast<double>(bytes) / static_cast<double>(n_symbols) : 0},
            {"digest", data.digest},
            {"valid_digest", data.valid_digest},
            {"split_digest", data.split_digest}};
}

std::string as_text(const Json& s, bool is_split) {
    // A small store is little but the frame of its format.
    constexpr int64_t kTelling = 1 << 16;
    const auto bytes = s["bytes"].get<int64_t>();
    const std::string bits =
        bytes < kTelling ? "" : fmt::format(" ({:.3f} bits a symbol)", s["bits_per_symbol"].get<double>());
    return fmt::format("{}: {}, {} in {}{}, {}\ndigest {}\n", s["file"].get<std::string>(),
                       counted(s["records"].get<int64_t>(), "record"), counted(s["symbols"].get<int64_t>(), "symbol"),
                       bytes_text(bytes), bits,
                       is_split ? "split as asked" : "not split", s["digest"].get<std::string>());
}

}  // namespace

void run_prepare(App& app, const std::vector<std::string>& args) {
    cli::PrepareOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) return void(app.results = config_text(list));
    require_all(list);
    o.data.check();
    check_scopes(list, line.chosen, o.data.in_use());
    make_paths_absolute(list);  // as train has them: they may become part of names
    const Domain& domain = find_domain(o.data.domain);
    check_output(list, "out", o.overwrite);
    const Dataset data = domain.load(o.data);
    // What the inputs decided, such as a sample rate, belongs to the store.
    apply_json(list, data.resolved, {}, "the input");
    report(app.console, data, list);
    const StopSignals signals;
    try {
        write_store(o.out, data, {domain.name, domain.symbol_settings(o.data), domain.packed, &signals.flag()});
    } catch (const Interrupted&) {
        fail("prepare: stopped by a signal before the end; nothing was written");
    }
    const Json result = summary(data, o.out);
    app.results = o.json ? json_text(result) + "\n" : as_text(result, !data.split_digest.empty() || !data.valid.empty());
}

}  // namespace adder
