#include "apps/cmd_info.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "apps/build_info.h"
#include "apps/command_line.h"
#include "apps/machine.h"
#include "kernels/common/isa.h"

namespace adder {

namespace {

struct InfoOptions {
    bool json = false;

    OptionList list() {
        OptionList l;
        l.add({.name = "json", .value = &json, .help = "print one JSON object"});
        return l;
    }
};

constexpr CommandText kText = {"info", kInfoSummary, "adder info --json"};

nlohmann::ordered_json describe() {
    const BuildInfo& build = build_info();
    nlohmann::ordered_json json = {{"version", build.version},     {"commit", build.commit},
                                   {"compiler", build.compiler},   {"build_type", build.build_type},
                                   {"isa", current_isa()},          {"isas", available_isas()},
                                   {"cores", usable_cores()},      {"memory_bytes", physical_memory_bytes()},
                                   {"devices", {"cpu"}}};
    for (const auto& [name, version] : build.libraries) json["libraries"][name] = version;
    return json;
}

std::string as_lines(const nlohmann::ordered_json& json) {
    std::string text;
    for (const auto& [key, value] : json.items()) {
        if (value.is_object())
            text += as_lines(value);
        else
            text += fmt::format("{:<16} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    }
    return text;
}

}  // namespace

void run_info(App& app, const std::vector<std::string>& args) {
    InfoOptions options;
    OptionList list = options.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help)
        app.results = help_text(kText, list);
    else if (line.print_config)
        app.results = config_text(list);
    else
        app.results = options.json ? describe().dump() + '\n' : as_lines(describe());
}

}  // namespace adder
