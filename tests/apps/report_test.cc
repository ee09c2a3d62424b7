// Parts of the pages: numbers that stay what they are, text that stays text, curves that keep their extremes.
#include "apps/composition.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "apps/chart.h"
#include "apps/html.h"
#include "apps/report_run.h"
#include "apps/run_folder.h"
#include "core/error.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Html, names_become_text_whatever_they_hold) {
    EXPECT_EQ(html_text("<b>&\"it's\""), "&lt;b&gt;&amp;&quot;it&#39;s&quot;");
    EXPECT_EQ(html_text("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x8D"), "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x8D");
    // A lone byte, an overlong form, a surrogate, a cut character, a control character.
    for (const char* bad : {"\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xE2\x82", "\x01"})
        EXPECT_THAT(html_text(bad), testing::StartsWith("\xEF\xBF\xBD")) << bad;
    EXPECT_EQ(html_text("a\xE2\x82z"), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
}

TEST(Html, cells_hold_the_exact_number_beside_the_one_to_read) {
    EXPECT_THAT(number_cell(1.3621274351321), HasSubstr("data-value=\"1.3621274351321\">1.3621<"));
    EXPECT_THAT(score_cell(0.5), HasSubstr("data-value=\"0.5\">0.5000<"));
    EXPECT_THAT(score_cell(std::nan("")), HasSubstr("data-value=\"nan\""));
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(-123), "-123");
    EXPECT_EQ(grouped(-123456), "-123,456");
    EXPECT_EQ(grouped(1234567), "1,234,567");
    EXPECT_EQ(duration_text(61), "61.0 s");
    EXPECT_EQ(duration_text(125), "2 min 5 s");
    EXPECT_EQ(duration_text(2 * 86400), "48 h 0 min");
}

TEST(Html, data_uris_are_base64) {
    const auto uri = [](std::string_view text) {
        return data_uri("text/plain", std::as_bytes(std::span(text)));
    };
    // RFC 4648, section 10.
    EXPECT_EQ(uri(""), "data:text/plain;base64,");
    EXPECT_EQ(uri("f"), "data:text/plain;base64,Zg==");
    EXPECT_EQ(uri("fo"), "data:text/plain;base64,Zm8=");
    EXPECT_EQ(uri("foobar"), "data:text/plain;base64,Zm9vYmFy");
}

std::vector<double> count_to(size_t n) {
    std::vector<double> x(n);
    for (size_t i = 0; i < n; ++i) x[i] = static_cast<double>(i + 1);
    return x;
}

TEST(Chart, thinning_keeps_the_ends_and_every_extreme) {
    const std::vector<double> x = count_to(1'000'000);
    std::vector<double> y(x.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = std::sin(1e-4 * x[i]);
    y[777'777] = 50;
    y[123'456] = -50;
    const auto points = thinned(x, y, 400);
    EXPECT_LE(points.size(), 1600u);
    EXPECT_GE(points.size(), 400u);
    EXPECT_EQ(points.front().x, 1);
    EXPECT_EQ(points.back().x, 1e6);
    double low = 0, high = 0, last = 0;
    for (const ChartPoint& p : points) {
        EXPECT_GT(p.x, last);
        EXPECT_EQ(p.y, y[static_cast<size_t>(p.x) - 1]);
        last = p.x, low = std::min(low, p.y), high = std::max(high, p.y);
    }
    EXPECT_EQ(low, -50);
    EXPECT_EQ(high, 50);
}

TEST(Chart, few_points_stay_as_they_are) {
    const std::vector<double> x = {3, 4, 5}, y = {1, std::nan(""), 2};
    const auto points = thinned(x, y, 100);
    ASSERT_EQ(points.size(), 2u);
    EXPECT_EQ(points[1].x, 5);
    const std::vector<double> one = {7};
    EXPECT_EQ(thinned(one, one, 100).size(), 1u);
    EXPECT_TRUE(thinned({}, {}, 100).empty());
}

TEST(Chart, what_is_not_finite_is_marked_and_counted) {
    const std::vector<double> x = count_to(5);
    const std::vector<double> y = {1, std::nan(""), std::numeric_limits<double>::infinity(), 2, 3};
    const ChartSeries series{"a<b", 0, x, y};
    const std::string svg = line_chart({"loss", "step", "bits"}, {&series, 1}, 100);
    EXPECT_THAT(svg, HasSubstr("not finite: 2 values"));
    EXPECT_THAT(svg, HasSubstr("class=\"cross"));
    EXPECT_THAT(svg, HasSubstr("data-name=\"a&lt;b\""));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(Chart, any_values_make_a_picture) {
    const std::vector<double> x = {1}, zero = {0}, nan = {std::nan("")}, tiny = {-1e-300}, huge = {1e300};
    for (const auto* y : {&zero, &nan, &tiny, &huge})
        for (const bool log_y : {false, true}) {
            const ChartSeries series{"s", 9, x, *y};
            const std::string svg = line_chart({.title = "t", .log_y = log_y}, {&series, 1}, 100);
            EXPECT_THAT(svg, Not(HasSubstr("nan")));
            EXPECT_THAT(svg, Not(HasSubstr("\"inf")));
            EXPECT_LT(svg.size(), 10'000u);
        }
    EXPECT_THAT(line_chart({}, {}, 10), HasSubstr("</svg>"));
}

TEST(Composition, shares_do_not_depend_on_the_strand_or_the_pieces) {
    CompositionCounter one, other;
    one.add("ACGTTGCAACNNACCAGT");
    other.add("ACTGGTNNGTTGCAACGT");
    const Composition a = one.result(), b = other.result();
    EXPECT_EQ(a.bases, 18);
    EXPECT_EQ(a.acgt, 16);
    EXPECT_DOUBLE_EQ(a.gc, 0.5);
    for (size_t i = 0; i < kCompositionK.size(); ++i)
        EXPECT_NEAR(divergence_bits(a.kmers[i], b.kmers[i]), 0, 1e-12);
    CompositionCounter none;
    none.add("NNNNNNNN");
    EXPECT_TRUE(std::isnan(none.result().gc));
    EXPECT_TRUE(std::isnan(divergence_bits(none.result().kmers[0], a.kmers[0])));
}

TEST(Composition, divergence_is_that_of_its_definition) {
    EXPECT_DOUBLE_EQ(divergence_bits({1, 0}, {0, 1}), 1);
    EXPECT_DOUBLE_EQ(divergence_bits({0.5, 0.5}, {0.5, 0.5}), 0);
    // ½ (log2 4/3) + ½ (½ log2 2/3 + ½ log2 2)
    EXPECT_NEAR(divergence_bits({1, 0}, {0.5, 0.5}), 0.311278124459133, 1e-14);
}

TEST(ReportRun, any_file_that_has_a_meaning_there_makes_a_folder_that_of_a_run) {
    for (const RunFile& f : run_files()) {
        const Scratch w;
        std::filesystem::create_directories(std::filesystem::path(w.path(f.name)).parent_path());
        w.put(f.name, "{}");
        EXPECT_NO_THROW(read_entry(w.path(""))) << f.name;
    }
    const Scratch w;
    w.put("other.json", "{}");
    EXPECT_THROW(read_entry(w.path("")), Error);
}

}  // namespace
}  // namespace adder
