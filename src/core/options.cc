#include "core/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"

namespace adder {

namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    size_t begin = 0;
    for (;;) {
        const size_t end = text.find(separator, begin);
        parts.push_back(text.substr(begin, end - begin));
        if (end == std::string::npos) return parts;
        begin = end + 1;
    }
}

std::string describe(const Range& r) {
    const bool low = std::isfinite(r.low), high = std::isfinite(r.high);
    if (low && high)
        return fmt::format(" from {}{} to {}{}", r.low, r.low_excluded ? " (excluded)" : "", r.high,
                           r.high_excluded ? " (excluded)" : "");
    if (low) return fmt::format(" {} {}", r.low_excluded ? "above" : "of at least", r.low);
    if (high) return fmt::format(" {} {}", r.high_excluded ? "below" : "of at most", r.high);
    return "";
}

bool inside(const Range& r, double x) {
    return (r.low_excluded ? x > r.low : x >= r.low) && (r.high_excluded ? x < r.high : x <= r.high);
}

std::string describe_value(const Option& o) {
    const std::string range = describe(o.range);
    return std::visit(Overloaded{
                          [](bool*) -> std::string { return "true or false"; },
                          [&](int64_t*) { return "a whole number" + range; },
                          [&](std::optional<int64_t>*) { return "a whole number" + range; },
                          [&](double*) { return "a number" + range; },
                          [&](std::optional<double>*) { return "a number" + range; },
                          [&](std::optional<Bytes>*) -> std::string {
                              return "bytes such as 512MiB, 8GB or 1000000";
                          },
                          [&](auto*) -> std::string {
                              if (o.unit.find('|') == std::string::npos) return "text";
                              std::string text;
                              for (const std::string& choice : split(o.unit, '|'))
                                  text += (text.empty() ? "" : ", ") + choice;
                              return "one of " + text;
                          },
                      },
                      o.value);
}

bool parse(const std::string& text, double& to) {
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, to);
    return error == std::errc() && at == end && std::isfinite(to);
}

// 1000 and 1e3 alike.
bool parse(const std::string& text, int64_t& to) {
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, to);
    if (error == std::errc() && at == end) return true;
    double wide = 0;
    constexpr double kExact = 9007199254740992.0;  // 2^53: larger doubles are not every whole number
    if (!parse(text, wide) || std::floor(wide) != wide || std::abs(wide) > kExact) return false;
    to = static_cast<int64_t>(wide);
    return true;
}

bool parse(const std::string& text, Bytes& to) {
    static constexpr struct {
        const char* suffix;
        double factor;
    } kUnits[] = {{"", 1},      {"B", 1},           {"kB", 1e3},           {"KB", 1e3},
                  {"MB", 1e6},  {"GB", 1e9},        {"TB", 1e12},          {"KiB", 1024},
                  {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc()) return false;
    const std::string_view suffix(at, static_cast<size_t>(end - at));
    for (const auto& unit : kUnits) {
        if (suffix != unit.suffix) continue;
        const double bytes = std::floor(number * unit.factor);
        if (!(bytes >= 1 && bytes < 9e18)) return false;
        to.count = static_cast<int64_t>(bytes);
        return true;
    }
    return false;
}

bool parse(const std::string& text, bool& to) {
    to = text == "true";
    return to || text == "false";
}

bool valid_utf8(const std::string& s) {
    try {
        return !nlohmann::json(s).dump().empty();
    } catch (const nlohmann::json::exception&) {
        return false;
    }
}

bool allowed(const Option& o, const std::string& text) {
    if (text.empty() || !valid_utf8(text)) return false;
    if (o.unit.find('|') == std::string::npos) return true;
    const std::vector<std::string> choices = split(o.unit, '|');
    return std::find(choices.begin(), choices.end(), text) != choices.end();
}

template <class T>
bool set_number(const Option& o, const std::string& text, T& to) {
    T value{};
    if (!parse(text, value)) return false;
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
        if (!inside(o.range, static_cast<double>(value))) return false;
    to = value;
    return true;
}

bool try_set(const Option& o, const std::string& text) {
    return std::visit(Overloaded{
                          [&](std::string* to) {
                              if (!allowed(o, text)) return false;
                              *to = text;
                              return true;
                          },
                          [&](std::vector<std::string>* to) {
                              if (!allowed(o, text)) return false;
                              to->push_back(text);
                              return true;
                          },
                          [&]<class T>(std::optional<T>* to) {
                              T value{};
                              if (!set_number(o, text, value)) return false;
                              *to = value;
                              return true;
                          },
                          [&](auto* to) { return set_number(o, text, *to); },
                      },
                      o.value);
}

// False for a type that always has a value.
bool clear(const Option& o) {
    return std::visit(Overloaded{
                          [](std::string* to) { return to->clear(), true; },
                          [](std::vector<std::string>* to) { return to->clear(), true; },
                          []<class T>(std::optional<T>* to) { return to->reset(), true; },
                          [](auto*) { return false; },
                      },
                      o.value);
}

std::string scalar_text(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string absolute_path(const std::string& path) {
    if (path.empty() || path == "-") return path;
    std::error_code error;
    const std::filesystem::path absolute = std::filesystem::absolute(path, error);
    return error ? path : absolute.lexically_normal().string();
}

}  // namespace

bool Option::is_set() const {
    return std::visit(Overloaded{
                          [](const std::string* v) { return !v->empty(); },
                          [](const std::vector<std::string>* v) { return !v->empty(); },
                          []<class T>(const std::optional<T>* v) { return v->has_value(); },
                          [](const auto*) { return true; },
                      },
                      value);
}

void OptionList::add(Option option) {
    CHECK(find(option.name) == nullptr);
    options_.push_back(std::move(option));
}

void OptionList::add_all(const OptionList& part, const OptionScope& scope) {
    for (Option o : part.options_) {
        o.scopes.insert(o.scopes.begin(), scope);
        add(std::move(o));
    }
}

Option* OptionList::find(std::string_view name) {
    for (Option& o : options_)
        if (o.name == name) return &o;
    return nullptr;
}

std::vector<std::string> OptionList::names() const {
    std::vector<std::string> names;
    for (const Option& o : options_) names.push_back(o.name);
    return names;
}

void set_from_text(const Option& option, const std::string& text) {
    if (!try_set(option, text))
        throw UsageError(fmt::format("--{}: expected {}, got '{}'", option.name, describe_value(option), text));
}

void set_from_json(const Option& option, const nlohmann::json& value, const std::string& source) {
    if (clear(option) && value.is_null()) return;
    const bool list = value.is_array() && option.repeatable();
    const nlohmann::json values = list ? value : nlohmann::json::array({value});
    for (const nlohmann::json& v : values)
        if (v.is_structured() || !try_set(option, scalar_text(v)))
            fail("{}: \"{}\": expected {}, got {}", source, option.name, describe_value(option), v.dump());
}

nlohmann::ordered_json to_json(const Option& option) {
    if (!option.is_set()) return nullptr;
    return std::visit(Overloaded{
                          [](const std::optional<Bytes>* v) { return nlohmann::ordered_json((*v)->count); },
                          []<class T>(const std::optional<T>* v) { return nlohmann::ordered_json(**v); },
                          [](const auto* v) { return nlohmann::ordered_json(*v); },
                      },
                      option.value);
}

nlohmann::ordered_json to_json(const OptionList& list) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const Option& o : list.all()) json[o.name] = to_json(o);
    return json;
}

void apply_json(OptionList& list, const nlohmann::json& json, const std::set<std::string>& given,
                const std::string& source) {
    if (!json.is_object()) fail("{}: expected a JSON object of options", source);
    for (const auto& [name, value] : json.items()) {
        const Option* option = list.find(name);
        if (!option)
            fail("{}: unknown option \"{}\"; the nearest is \"{}\"", source, name, nearest_name(name, list.names()));
        if (!given.count(name)) set_from_json(*option, value, source);
    }
}

void restore_options(OptionList& list, const nlohmann::json& stored, const std::set<std::string>& given,
                     const std::string& source) {
    if (!stored.is_object()) fail("{}: expected a JSON object of options", source);
    std::string differing;
    for (const auto& [name, value] : stored.items()) {
        const Option* option = list.find(name);
        if (!option) fail("{}: option \"{}\" is unknown to this version", source, name);
        if (option->on_resume == OnResume::any) continue;
        const nlohmann::json now = to_json(*option);
        set_from_json(*option, value, source);
        const nlohmann::json then = to_json(*option);  // as this version writes it
        if (!given.count(name) || now == then) continue;
        if (option->on_resume == OnResume::grow && now.is_number() && then.is_number() && now > then) {
            set_from_json(*option, now, source);
            continue;
        }
        differing += fmt::format("{}--{} is {} now, {} in the run", differing.empty() ? "" : "; ", name, now.dump(),
                                 then.dump());
    }
    if (!differing.empty()) fail("{}: {}; hint: leave them out, or start another --out", source, differing);
}

namespace {

// The first scope of `option` that what is in use is outside of.
const OptionScope* missed_scope(const Option& option, const InUse& in_use) {
    for (const OptionScope& s : option.scopes) {
        const auto now = in_use.find(s.of);
        if (now == in_use.end()) continue;
        const auto& [first, last] = std::pair(s.values.begin(), s.values.end());
        if (std::find_first_of(first, last, now->second.begin(), now->second.end()) == last) return &s;
    }
    return nullptr;
}

}  // namespace

bool applies(const Option& option, const InUse& in_use) { return !missed_scope(option, in_use); }

void check_scopes(const OptionList& list, const std::set<std::string>& chosen, const InUse& in_use) {
    for (const Option& o : list.all())
        if (const OptionScope* s = chosen.count(o.name) ? missed_scope(o, in_use) : nullptr)
            throw UsageError(fmt::format("--{}: of --{} {}, not of {}", o.name, s->of, fmt::join(s->values, " or "),
                                         fmt::join(in_use.at(s->of), ", ")));
}

void make_paths_absolute(OptionList& list) {
    for (const Option& o : list.all()) {
        if (!o.is_path) continue;
        if (auto* const* one = std::get_if<std::string*>(&o.value)) **one = absolute_path(**one);
        if (auto* const* many = std::get_if<std::vector<std::string>*>(&o.value))
            for (std::string& path : **many) path = absolute_path(path);
    }
}

void require_all(const OptionList& list) {
    for (const Option& o : list.all())
        if (o.required && !o.is_set())
            throw UsageError(fmt::format("--{} {} is missing: {}", o.name, o.unit, o.help));
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
    // Optimal string alignment distance (Damerau 1964 as restricted by Wagner and Lowrance 1975).
    const auto distance = [&](std::string_view b) -> int64_t {
        const std::string_view a = name;
        if (!a.empty() && !b.empty() && (a.substr(0, b.size()) == b || b.substr(0, a.size()) == a)) return 1;
        std::vector<std::vector<int64_t>> d(a.size() + 1, std::vector<int64_t>(b.size() + 1));
        for (size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<int64_t>(i);
        for (size_t j = 0; j <= b.size(); ++j) d[0][j] = static_cast<int64_t>(j);
        for (size_t i = 1; i <= a.size(); ++i)
            for (size_t j = 1; j <= b.size(); ++j) {
                d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
            }
        return d[a.size()][b.size()];
    };
    std::string best;
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const std::string& candidate : candidates)
        if (const int64_t far = distance(candidate); far < least) {
            least = far;
            best = candidate;
        }
    return best;
}

}  // namespace adder
