// Patterns that take names apart: '{label}_{group}_{take}' reads "7_jackson_32".
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace adder {

// Text in braces is a field, the rest stands for itself. A field is one character or more, none of them a
// '/'; of several ways to read a name the earlier fields are as short as they can be.
class FilePattern {
  public:
    // Throws UsageError: a brace without its pair, a field without name, one named twice, two fields with
    // nothing between.
    explicit FilePattern(const std::string& text);

    const std::string& text() const { return text_; }
    bool has(std::string_view field) const;
    // Field -> text; false where the name does not fit.
    bool match(std::string_view name, std::map<std::string, std::string>& fields) const;

  private:
    struct Part {
        std::string field;    // "" before the first one
        std::string literal;  // what stands behind it
    };
    bool match_from(size_t part, std::string_view rest, std::map<std::string, std::string>& fields) const;

    std::string text_;
    std::vector<Part> parts_;
};

// Values of a field: 'take=0-4', 'group=theo,lucas', 'take=0-4,10'. A range holds whole numbers.
class FieldChoice {
  public:
    // Throws UsageError naming `option`.
    FieldChoice(std::string_view option, const std::string& text);
    const std::string& field() const { return field_; }
    bool holds(const std::string& value) const;

  private:
    struct Range {
        long long low, high;
    };
    std::string field_;
    std::vector<std::string> values_;
    std::vector<Range> ranges_;
};

}  // namespace adder
