#include "apps/command_line.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace adder {

namespace {

namespace po = boost::program_options;

// Options of every command; they are not part of what a command does, so its OptionList has none of them.
struct CommonOptions {
    bool help = false, print_config = false;
    std::string config;

    OptionList list() {
        OptionList l;
        l.add({.name = "config", .value = &config, .unit = "FILE",
               .help = "read options from a JSON object such as --print-config prints; the command line wins"});
        l.add({.name = "print-config", .value = &print_config, .help = "print every option as JSON and exit"});
        l.add({.name = "help", .value = &help, .help = "print this text and exit"});
        return l;
    }
};

void describe(const OptionList& options, po::options_description& to) {
    for (const Option& o : options.all()) {
        if (o.is_flag())
            to.add_options()(o.name.c_str(), o.help.c_str());
        else
            to.add_options()(o.name.c_str(), po::value<std::vector<std::string>>(), o.help.c_str());
    }
}

[[noreturn]] void unknown_option(const CommandText& command, const std::string& token, const OptionList& options,
                                 const OptionList& common) {
    std::vector<std::string> names = options.names();
    for (const std::string& name : common.names()) names.push_back(name);
    const size_t begin = token.find_first_not_of('-');
    const std::string name = begin == std::string::npos ? token : token.substr(begin, token.find('=') - begin);
    throw UsageError(fmt::format("{}: unknown option '{}'; the nearest is --{}", command.name,
                                 token.substr(0, token.find('=')), nearest_name(name, names)));
}

// Boost cuts the line into names and values; what a value means is for the OptionList.
po::parsed_options cut(const std::vector<std::string>& args, const po::options_description& known,
                       const CommandText& command, const OptionList& options, const OptionList& common) {
    namespace style = po::command_line_style;
    try {
        return po::command_line_parser(args)
            .options(known)
            .style(style::allow_long | style::long_allow_adjacent | style::long_allow_next)
            .allow_unregistered()
            .run();
    } catch (const po::error_with_option_name& e) {
        std::string name = e.get_option_name();
        if (name.rfind("--", 0) != 0) name = "--" + name;
        const std::string bare = name.substr(2);
        for (const Option& o : options.all())
            if (o.name == bare && o.is_flag()) throw UsageError(fmt::format("{}: takes no value", name));
        for (const Option& o : common.all())
            if (o.name == bare && o.is_flag()) throw UsageError(fmt::format("{}: takes no value", name));
        throw UsageError(fmt::format("{}: a value is missing", name));
    } catch (const po::error& e) {
        throw UsageError(fmt::format("{}: {}", command.name, e.what()));
    }
}

void read_config(const std::string& path, OptionList& options, CommandLine& line) {
    errno = 0;
    std::ifstream file(path);
    if (!file) fail("--config {}: {}", path, std::strerror(errno));
    nlohmann::json json;
    try {
        json = nlohmann::json::parse(file);
    } catch (const nlohmann::json::exception& e) {
        fail("--config {}: not JSON: {}", path, e.what());
    } catch (const std::ios_base::failure&) {  // a folder opens, and fails when it is read
        fail("--config {}: cannot read it", path);
    }
    const nlohmann::ordered_json defaults = to_json(options);
    apply_json(options, json, line.given, path);
    for (const auto& item : json.items()) {
        const std::string& name = item.key();
        // null stands for "not given", as --print-config writes it.
        if (item.value().is_null() || !line.given.insert(name).second) continue;
        if (to_json(*options.find(name)) != defaults.at(name)) line.chosen.insert(name);
    }
}

std::string default_of(const Option& o) {
    if (o.required) return o.derived.empty() ? "required" : "required " + o.derived;
    if (!o.derived.empty()) return "default: " + o.derived;
    if (o.is_flag() || !o.is_set()) return "";
    const nlohmann::ordered_json json = to_json(o);
    return "default: " + (json.is_string() ? json.get<std::string>() : json.dump());
}

// Text wrapped to 100 columns behind a margin.
std::string wrapped(const std::string& text, size_t margin) {
    constexpr size_t kColumns = 100;
    std::string out;
    size_t column = margin;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find(' ', begin), text.size());
        if (column > margin && column + 1 + (end - begin) > kColumns) {
            out += '\n' + std::string(margin, ' ');
            column = margin;
        } else if (column > margin) {
            out += ' ';
            ++column;
        }
        out.append(text, begin, end - begin);
        column += end - begin;
        begin = end + 1;
    }
    return out;
}

std::string help_lines(const OptionList& options) {
    constexpr size_t kMargin = 30;
    std::string text;
    for (const Option& o : options.all()) {
        std::string left = fmt::format("  --{}{}{}", o.name, o.unit.empty() ? "" : " ", o.unit);
        if (left.size() + 1 > kMargin)
            left += '\n' + std::string(kMargin, ' ');
        else
            left.resize(kMargin, ' ');
        std::string help = o.help;
        if (o.repeatable()) help += " (repeatable)";
        if (const std::string value = default_of(o); !value.empty()) help += fmt::format(" [{}]", value);
        text += left + wrapped(help, kMargin) + '\n';
    }
    return text;
}

}  // namespace

CommandLine parse_command_line(const CommandText& command, const std::vector<std::string>& args,
                               OptionList& options) {
    CommonOptions common_values;
    OptionList common = common_values.list();
    po::options_description known;
    describe(options, known);
    describe(common, known);

    CommandLine line;
    std::set<std::string> from_config;
    for (const po::option& token : cut(args, known, command, options, common).options) {
        std::string name = token.string_key;
        if (token.unregistered) unknown_option(command, token.original_tokens.at(0), options, common);
        std::vector<std::string> values = token.value;
        if (name.empty()) {  // a word without a name
            const auto& all = options.all();
            const auto o = std::find_if(all.begin(), all.end(), [](const Option& x) { return x.positional; });
            if (o == all.end())
                throw UsageError(fmt::format("{}: unexpected argument '{}'; options begin with two dashes",
                                             command.name, values.empty() ? "" : values[0]));
            name = o->name;
        }
        const Option* option = options.find(name) ? options.find(name) : common.find(name);
        CHECK(option != nullptr);
        if (!line.given.insert(name).second && !option->repeatable())
            throw UsageError(fmt::format("--{}: given twice", name));
        if (option->is_flag()) values = {"true"};
        // Boost takes whatever follows; a value with two dashes in front is written --name=value.
        if (token.original_tokens.size() > 1 && values.at(0).rfind("--", 0) == 0)
            throw UsageError(fmt::format("--{}: a value is missing before {}", name, values[0]));
        for (const std::string& value : values) set_from_text(*option, value);
    }
    line.help = common_values.help;
    line.print_config = common_values.print_config;
    for (const std::string& name : common.names()) line.given.erase(name);
    line.chosen = line.given;
    if (!line.help && !common_values.config.empty()) read_config(common_values.config, options, line);
    return line;
}

std::string help_text(const CommandText& command, const OptionList& options) {
    std::string positional;
    for (const Option& o : options.all())
        if (o.positional) positional = ' ' + o.unit;
    std::string text = fmt::format("usage: adder {}{} [options]\n{}\n\noptions:\n{}", command.name, positional,
                                   wrapped(command.summary, 0), help_lines(options));
    text += help_lines(CommonOptions().list());
    std::string examples = command.examples;
    for (size_t at = 0; (at = examples.find('\n', at)) != std::string::npos;) examples.insert(++at, "  ");
    return text + fmt::format("\nexample:\n  {}\n", examples);
}

std::string config_text(const OptionList& options) { return to_json(options).dump(2) + '\n'; }

}  // namespace adder
