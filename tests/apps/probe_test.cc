#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "apps/confusion_svg.h"
#include "apps/probe_inputs.h"
#include "io/hdf5.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

template <class T>
std::string embeddings(const Scratch& w, const std::vector<std::string>& names, std::vector<T> values, int64_t d,
                       bool positions = false) {
    const std::string path = w.path("e.h5");
    Hdf5Writer file(path);
    file.dataset("embedding", {.dtype = dtype_of<T>, .columns = d});
    file.append("embedding", values.data(), static_cast<int64_t>(values.size()) / d);
    file.strings("name");
    file.append("name", names);
    if (positions) file.dataset("offset", {.dtype = DType::i64});
    file.commit();
    return path;
}

TEST(ProbeInputs, rows_stand_in_the_order_of_the_labels_whatever_their_type) {
    Scratch w;
    const LabelTable labels = read_labels(w.put("l.tsv", "name\tlabel\na\tx\nb\ty\nc\tx\n"));
    const LabelledFeatures f = read_embeddings(embeddings<float>(w, {"c", "a", "b"}, {5, 6, 1, 2, 3, 4}, 2), labels);
    EXPECT_EQ(f.n, 3);
    EXPECT_EQ(f.d, 2);
    EXPECT_THAT(f.values, ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(read_embeddings(embeddings<double>(w, {"c", "a", "b"}, {5, 6, 1, 2, 3, 4}, 2), labels).values, f.values);
}

TEST(ProbeInputs, a_value_that_is_not_finite_is_named_with_its_example) {
    Scratch w;
    const LabelTable labels = read_labels(w.put("l.tsv", "name\tlabel\na\tx\nb\ty\n"));
    const std::string path = embeddings<float>(w, {"b", "a"}, {0, 1, 2, NAN}, 2);
    EXPECT_THAT(error_of([&] { read_embeddings(path, labels); }),
                AllOf(HasSubstr("e.h5"), HasSubstr("'a' (row 1) is nan in column 1")));
    const std::string wide = embeddings<double>(w, {"b", "a"}, {0, 1, 2, 1e300}, 2);
    EXPECT_THAT(error_of([&] { read_embeddings(wide, labels); }), HasSubstr("is inf in column 1"));
}

TEST(ProbeInputs, files_that_hold_something_else_are_refused) {
    Scratch w;
    const LabelTable labels = read_labels(w.put("l.tsv", "name\tlabel\na\tx\nb\ty\n"));
    const auto error = [&](const std::string& path) { return error_of([&] { read_embeddings(path, labels); }); };
    EXPECT_THAT(error(embeddings<float>(w, {"a", "b"}, {1, 2}, 1, true)), HasSubstr("for every position"));
    EXPECT_THAT(error(embeddings<float>(w, {"a", "b", "c"}, {1, 2}, 1)), HasSubstr("one name an example"));
    EXPECT_THAT(error(embeddings<int64_t>(w, {"a", "b"}, {1, 2}, 1)), HasSubstr("'embedding' is i64 (2,1)"));
    EXPECT_THAT(error(embeddings<float>(w, {"a", "a"}, {1, 2}, 1)), HasSubstr("more than once: 1 (a)"));
}

TEST(ConfusionSvg, holds_names_counts_and_shares) {
    const std::string svg = confusion_svg({"a<b", "c&\"d\""}, std::vector<int64_t>{3, 1, 0, 0});
    EXPECT_THAT(svg, AllOf(HasSubstr("a&lt;b"), HasSubstr("c&amp;&quot;d&quot;"), Not(HasSubstr("a<b"))));
    EXPECT_THAT(svg, HasSubstr("truth a&lt;b, predicted c&amp;&quot;d&quot;: 1 of 4 (25.0 %)"));
    EXPECT_THAT(svg, HasSubstr("0 of 0 (0.0 %)"));
    EXPECT_THAT(svg, AllOf(testing::StartsWith("<svg "), testing::EndsWith("</svg>\n")));
}

TEST(ConfusionSvg, many_classes_and_long_names_fit) {
    for (const int64_t C : {1, 7, 30, 31, 81, 300}) {
        std::vector<std::string> names;
        for (int64_t i = 0; i < C; ++i) names.push_back("ünïcödé class with a long name " + std::to_string(i));
        const std::string svg = confusion_svg(names, std::vector<int64_t>(static_cast<size_t>(C * C), 1));
        EXPECT_EQ(svg.find(">1</text>") != std::string::npos, C <= 30) << C;
        EXPECT_EQ(svg.find("ünïcödé class with…") != std::string::npos, C <= 80) << C;
    }
}

}  // namespace
}  // namespace adder
