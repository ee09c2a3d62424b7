#include "core/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace adder {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// One option of every kind.
struct Sample {
    bool flag = false;
    int64_t whole = 7;
    double real = 0.5;
    std::string text, choice = "a";
    std::vector<std::string> many;
    std::optional<int64_t> maybe;
    std::optional<Bytes> bytes;
    int64_t steps = 100, threads = 1;

    OptionList list() {
        OptionList l;
        l.add({.name = "flag", .value = &flag});
        l.add({.name = "whole", .value = &whole, .range = between(0, 10)});
        l.add({.name = "real", .value = &real, .range = above(0)});
        l.add({.name = "text", .value = &text, .is_path = true});
        l.add({.name = "choice", .value = &choice, .unit = "a|b"});
        l.add({.name = "many", .value = &many, .is_path = true});
        l.add({.name = "maybe", .value = &maybe});
        l.add({.name = "bytes", .value = &bytes});
        l.add({.name = "steps", .value = &steps, .on_resume = OnResume::grow});
        l.add({.name = "threads", .value = &threads, .on_resume = OnResume::any});
        return l;
    }
};

void set(OptionList& list, const char* name, const std::string& text) { set_from_text(*list.find(name), text); }

template <class F>
std::string message_of(F f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "(nothing thrown)";
}

TEST(Options, numbers_are_read_in_the_usual_notations) {
    Sample s;
    OptionList l = s.list();
    set(l, "real", "1e-3");
    EXPECT_EQ(s.real, 1e-3);
    set(l, "steps", "1e6");
    EXPECT_EQ(s.steps, 1000000);
    set(l, "steps", "9223372036854775807");
    EXPECT_EQ(s.steps, 9223372036854775807);
    set(l, "maybe", "-3");
    EXPECT_EQ(s.maybe, -3);
}

TEST(Options, bytes_have_decimal_and_binary_units) {
    Sample s;
    OptionList l = s.list();
    const std::pair<const char*, int64_t> cases[] = {
        {"10GiB", int64_t{10} << 30}, {"512MiB", 536870912}, {"8GB", 8000000000}, {"1.5KiB", 1536},
        {"2kB", 2000}, {"3KB", 3000}, {"1TiB", int64_t{1} << 40}, {"1000000", 1000000}, {"5B", 5}};
    for (const auto& [text, count] : cases) {
        set(l, "bytes", text);
        EXPECT_EQ(s.bytes->count, count) << text;
    }
    for (const char* text : {"8G", "GB", "-1GB", "0", "1 GB", "1e30GB", "nan", ""})
        EXPECT_THROW(set(l, "bytes", text), UsageError) << text;
}

TEST(Options, a_bad_value_is_a_usage_error_with_name_and_range) {
    Sample s;
    OptionList l = s.list();
    for (const char* text : {"11", "-1", "3.5", "x", "3x", "", " 3", "1e99", "99999999999999999999"})
        EXPECT_EQ(message_of([&] { set(l, "whole", text); }),
                  fmt::format("--whole: expected a whole number from 0 to 10, got '{}'", text));
    for (const char* text : {"0", "nan", "inf", "1e999", "0x10", "1,5"})
        EXPECT_EQ(message_of([&] { set(l, "real", text); }),
                  fmt::format("--real: expected a number above 0, got '{}'", text));
    EXPECT_EQ(message_of([&] { set(l, "choice", "c"); }), "--choice: expected one of a, b, got 'c'");
    EXPECT_THROW(set(l, "text", ""), UsageError);
    EXPECT_THROW(set(l, "text", "\xff"), UsageError);  // JSON could not hold it
    EXPECT_EQ(s.whole, 7);
    EXPECT_EQ(s.choice, "a");
}

TEST(Options, json_of_a_list_sets_an_equal_list) {
    Sample a, b;
    OptionList la = a.list(), lb = b.list();
    set(la, "flag", "true");
    set(la, "real", "0.1");
    set(la, "many", "x");
    set(la, "many", "y");
    set(la, "bytes", "1GiB");
    set(la, "steps", "9007199254740993");
    const auto text = to_json(la).dump();
    b.text = "gone";
    apply_json(lb, json::parse(text), {}, "file");
    EXPECT_EQ(to_json(lb).dump(), text);
    EXPECT_EQ(b.steps, 9007199254740993);
    EXPECT_EQ(b.text, "");
}

TEST(Options, json_of_another_shape_is_an_error_that_names_file_and_option) {
    Sample s;
    OptionList l = s.list();
    const auto apply = [&](const char* text) {
        return message_of([&] { apply_json(l, json::parse(text), {}, "f.json"); });
    };
    EXPECT_EQ(apply(R"({"wohle": 1})"), "f.json: unknown option \"wohle\"; the nearest is \"whole\"");
    EXPECT_THAT(apply(R"({"whole": "x"})"), HasSubstr("f.json: \"whole\": expected a whole number"));
    for (const char* bad : {R"({"whole": null})", R"({"whole": [1]})", R"({"flag": 1})", R"({"text": {"a": 1}})",
                            R"({"many": [["x"]]})", "[1]", "3"})
        EXPECT_THAT(apply(bad), HasSubstr("f.json")) << bad;
    EXPECT_EQ(apply(R"({"many": "x", "bytes": "1kB", "real": 2})"), "(nothing thrown)");
    EXPECT_EQ(s.bytes->count, 1000);
}

TEST(Options, a_given_option_wins_over_json) {
    Sample s;
    OptionList l = s.list();
    set(l, "whole", "3");
    apply_json(l, {{"whole", 4}, {"steps", 5}}, {"whole"}, "f.json");
    EXPECT_EQ(s.whole, 3);
    EXPECT_EQ(s.steps, 5);
}

TEST(RestoreOptions, stored_values_return_and_those_of_one_invocation_do_not) {
    Sample run;
    OptionList stored = run.list();
    run.whole = 9, run.many = {"p"}, run.maybe = 4, run.threads = 8, run.steps = 50;
    Sample now;
    OptionList l = now.list();
    now.threads = 2;
    restore_options(l, to_json(stored), {"threads"}, "run.json");
    EXPECT_EQ(now.whole, 9);
    EXPECT_EQ(now.many, run.many);
    EXPECT_EQ(now.maybe, 4);
    EXPECT_EQ(now.steps, 50);
    EXPECT_EQ(now.threads, 2);
}

TEST(RestoreOptions, every_difference_is_named_with_both_values) {
    Sample run;
    OptionList stored = run.list();
    Sample now;
    OptionList l = now.list();
    set(l, "real", "0.25");
    set(l, "choice", "b");
    set(l, "whole", "7");  // given, but the same
    const std::string text =
        message_of([&] { restore_options(l, to_json(stored), {"real", "choice", "whole"}, "run.json"); });
    EXPECT_THAT(text, HasSubstr("--real is 0.25 now, 0.5 in the run"));
    EXPECT_THAT(text, HasSubstr("--choice is \"b\" now, \"a\" in the run"));
    EXPECT_THAT(text, testing::Not(HasSubstr("whole")));
}

TEST(RestoreOptions, steps_may_grow_and_not_shrink) {
    Sample run;
    OptionList stored = run.list();
    Sample now;
    OptionList l = now.list();
    set(l, "steps", "200");
    restore_options(l, to_json(stored), {"steps"}, "run.json");
    EXPECT_EQ(now.steps, 200);
    set(l, "steps", "20");
    EXPECT_THAT(message_of([&] { restore_options(l, to_json(stored), {"steps"}, "run.json"); }),
                HasSubstr("--steps is 20 now, 100 in the run"));
}

TEST(Options, paths_become_absolute_and_standard_input_stays) {
    Sample s;
    OptionList l = s.list();
    s.many = {"-", "a/../b", "/x"};
    make_paths_absolute(l);
    const std::string here = std::filesystem::current_path().string();
    EXPECT_EQ(s.many, (std::vector<std::string>{"-", here + "/b", "/x"}));
    EXPECT_EQ(s.text, "");
}

TEST(Options, the_nearest_name_needs_the_fewest_edits) {
    const std::vector<std::string> names = {"d-model", "d-state", "steps", "stop-after", "batch", "lr"};
    EXPECT_EQ(nearest_name("d_model", names), "d-model");
    EXPECT_EQ(nearest_name("stpes", names), "steps");
    EXPECT_EQ(nearest_name("batch-size", names), "batch");
    EXPECT_EQ(nearest_name("rl", names), "lr");
    EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace adder
