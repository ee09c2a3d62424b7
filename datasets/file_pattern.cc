#include "datasets/file_pattern.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace adder {

namespace {

[[noreturn]] void bad_pattern(const std::string& text, const std::string& reason) {
    throw UsageError(
        fmt::format("--pattern: '{}': {}; hint: such as '{{label}}_{{group}}_{{take}}'", text, reason));
}

bool parse(std::string_view text, long long& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

FilePattern::FilePattern(const std::string& text) : text_(text) {
    parts_.push_back({});
    for (std::string_view rest = text; !rest.empty();) {
        const size_t brace = std::min(rest.find_first_of("{}"), rest.size());
        parts_.back().literal = rest.substr(0, brace);
        rest.remove_prefix(brace);
        if (rest.empty()) break;
        const size_t end = rest.find('}');
        if (rest.front() == '}' || end == rest.npos) bad_pattern(text, "a brace without its pair");
        std::string field(rest.substr(1, end - 1));
        rest.remove_prefix(end + 1);
        if (field.empty()) bad_pattern(text, "a field without a name");
        if (has(field)) bad_pattern(text, fmt::format("two fields {{{}}}", field));
        if (parts_.size() > 1 && parts_.back().literal.empty())
            bad_pattern(text, "nothing between two fields");
        parts_.push_back({std::move(field), ""});
    }
    if (parts_.size() == 1) bad_pattern(text, "no field");
}

bool FilePattern::has(std::string_view field) const {
    return std::any_of(parts_.begin(), parts_.end(),
                       [&](const Part& p) { return p.field == field && !p.field.empty(); });
}

bool FilePattern::match(std::string_view name, std::map<std::string, std::string>& fields) const {
    fields.clear();
    const std::string& head = parts_.front().literal;
    return name.starts_with(head) && match_from(1, name.substr(head.size()), fields);
}

bool FilePattern::match_from(size_t part, std::string_view rest,
                             std::map<std::string, std::string>& fields) const {
    if (part == parts_.size()) return rest.empty();
    const Part& p = parts_[part];
    const bool last = part + 1 == parts_.size();
    // Where the text behind the field may begin.
    for (size_t end = 1; end <= rest.size() && rest[end - 1] != '/'; ++end) {
        if (last && rest.size() - end != p.literal.size()) continue;
        if (rest.compare(end, p.literal.size(), p.literal) != 0) continue;
        if (!match_from(part + 1, rest.substr(end + p.literal.size()), fields)) continue;
        fields[p.field] = rest.substr(0, end);
        return true;
    }
    return false;
}

FieldChoice::FieldChoice(std::string_view option, const std::string& text) {
    const size_t equals = text.find('=');
    const auto bad = [&](const std::string& reason) {
        throw UsageError(
            fmt::format("--{}: expected FIELD=VALUES such as take=0-4 or group=theo,lucas, got '{}'{}",
                        option, text, reason));
    };
    if (equals == text.npos || equals == 0 || equals + 1 == text.size()) bad("");
    field_ = text.substr(0, equals);
    for (std::string_view rest = std::string_view(text).substr(equals + 1);;) {
        const size_t comma = std::min(rest.find(','), rest.size());
        const std::string_view value = rest.substr(0, comma);
        if (value.empty()) bad(": an empty value");
        const size_t dash = value.find('-', 1);
        Range range{};
        if (dash != value.npos && parse(value.substr(0, dash), range.low) &&
            parse(value.substr(dash + 1), range.high)) {
            if (range.low > range.high) bad(fmt::format(": {} is above {}", range.low, range.high));
            ranges_.push_back(range);
        } else {
            values_.emplace_back(value);
        }
        if (comma == rest.size()) break;
        rest.remove_prefix(comma + 1);
    }
}

bool FieldChoice::holds(const std::string& value) const {
    if (std::find(values_.begin(), values_.end(), value) != values_.end()) return true;
    long long number = 0;
    return parse(value, number) && std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& r) {
               return number >= r.low && number <= r.high;
           });
}

}  // namespace adder
