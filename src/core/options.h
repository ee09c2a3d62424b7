// Options: a command lists the fields of its options struct once, and parsing, --help, --print-config, --config, run.json
// and the comparison on resume all walk that list. Nothing here knows a command line; apps/command_line.h does.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace adder {

// A number of bytes, written 512MiB, 8GB, 1.5GiB or 1000000.
struct Bytes {
    int64_t count = 0;
};

// What a resumed run does with an option.
enum class OnResume {
    same,  // part of the run: restored, and another value is an error
    grow,  // restored, but a larger value replaces it
    any,   // belongs to one invocation: neither restored nor compared
};

// Values that a number may have.
struct Range {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    bool low_excluded = false, high_excluded = false;
};
constexpr Range at_least(double low) { return {.low = low}; }
constexpr Range above(double low) { return {.low = low, .low_excluded = true}; }
constexpr Range between(double low, double high) { return {.low = low, .high = high}; }

// The most tokens, bases or samples that an option may ask for: beyond all data, and a million times as many
// can still be counted in 64 bits.
constexpr double kMostPositions = 0x1p42;

// Where the value lives. An empty string, vector or optional means "not given".
using OptionValue = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*,
                                 std::optional<int64_t>*, std::optional<double>*, std::optional<Bytes>*>;

// Where an option means something: with these values of another one, such as mamba2 of `mixer`.
struct OptionScope {
    std::string of;
    std::vector<std::string> values;
};

// The values that options of scopes have now: several where parts of a model differ. One that is open is not there.
using InUse = std::map<std::string, std::vector<std::string>>;

struct Option {
    std::string name;  // "d-model"; the command line puts two dashes before it
    OptionValue value;
    std::string unit = {};  // stands for the value in help: "M", "BP", "FILE"; "a|b" lists the only values a string may have
    std::string help = {};
    Range range = {};
    OnResume on_resume = OnResume::same;
    // In help, the default of a value that is worked out when it is not given; of a required option, when it is required.
    std::string derived = {};
    bool required = false;
    bool is_path = false;     // stored as an absolute path, so that a run can be resumed from another folder
    bool positional = false;  // also accepted without its name
    std::vector<OptionScope> scopes = {};  // all of them hold where it means something

    bool is_flag() const { return std::holds_alternative<bool*>(value); }
    bool repeatable() const { return std::holds_alternative<std::vector<std::string>*>(value); }
    bool is_set() const;  // false only for an empty string, vector or optional
};

class OptionList {
  public:
    void add(Option option);
    // All options of `part`, which mean something in `scope` alone.
    void add_all(const OptionList& part, const OptionScope& scope);
    Option* find(std::string_view name);
    std::vector<std::string> names() const;
    std::vector<Option>& all() { return options_; }
    const std::vector<Option>& all() const { return options_; }

  private:
    std::vector<Option> options_;
};

// Sets `option` from text; appends to a repeatable one. Throws UsageError naming the option and what it takes.
void set_from_text(const Option& option, const std::string& text);

// Sets `option` from JSON: a scalar as its text would, an array for a repeatable one, null for "not given". Throws Error
// naming `source` and the option.
void set_from_json(const Option& option, const nlohmann::json& value, const std::string& source);
nlohmann::ordered_json to_json(const Option& option);

// {"d-model": 128, ...} in the order of the list.
nlohmann::ordered_json to_json(const OptionList& list);

// Sets every option named in the object `json`, except those in `given`. Throws Error naming `source` for an unknown
// name or a bad value.
void apply_json(OptionList& list, const nlohmann::json& json, const std::set<std::string>& given,
                const std::string& source);

// Continues a run: takes its stored options and checks those `given` now against them, as `OnResume` says. Throws one
// Error that names every differing option with both values. An option that `stored` lacks keeps its present value.
void restore_options(OptionList& list, const nlohmann::json& stored, const std::set<std::string>& given,
                     const std::string& source);

// Whether `option` means something beside what is in use.
bool applies(const Option& option, const InUse& in_use);

// Throws UsageError for the first of the `chosen` options that means nothing beside what is in use: names its scope.
void check_scopes(const OptionList& list, const std::set<std::string>& chosen, const InUse& in_use);

// Rewrites path options as absolute paths; "-" stays.
void make_paths_absolute(OptionList& list);

// Throws UsageError naming the first required option that is not set.
void require_all(const OptionList& list);

// The candidate with the fewest insertions, deletions, replacements and swaps of neighbours; "" without candidates.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace adder
