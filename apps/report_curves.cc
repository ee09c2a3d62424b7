#include "apps/report_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <numbers>

#include "apps/chart.h"
#include "apps/html.h"

namespace adder {

const char* const kCurveStyle = R"(
.by{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:0 1.5rem}.by>figure{display:none}.axis{margin:.2em 1em .2em .3em}
#by-step:checked~.by>.step,#by-tokens:checked~.by>.tokens,#by-seconds:checked~.by>.seconds{display:block}
@media print{.by-what,.axis{display:none}}
)";

namespace {

using Column = std::vector<double> StepColumns::*;
using HeldOutColumn = std::vector<double> HeldOutColumns::*;

struct Abscissa {
    const char *key, *label;
    Column of_steps;
    HeldOutColumn of_held_out;
};
constexpr Abscissa kAbscissas[] = {
    {"step", "steps", &StepColumns::step, &HeldOutColumns::step},
    {"tokens", "tokens read", &StepColumns::tokens, &HeldOutColumns::tokens},
    {"seconds", "seconds in training steps", &StepColumns::seconds, &HeldOutColumns::seconds},
};

struct Curve {
    Column train = nullptr;
    HeldOutColumn held_out = nullptr;
    double factor = 1;
};

class Charts {
  public:
    Charts(std::span<const ReportEntry> runs, int64_t columns) : runs_(runs), columns_(columns) {}

    // The same chart by every abscissa; empty without values. Runs of another token than `token` are left
    // out, but for "".
    std::string figures(ChartText text, const Curve& curve, const std::string& token) const {
        std::string html;
        for (const Abscissa& a : kAbscissas) {
            std::deque<std::vector<double>> scaled;
            const std::vector<ChartSeries> series = series_of(a, curve, token, scaled);
            if (series.empty()) return "";
            text.x_label = a.label;
            html +=
                fmt::format("<figure class=\"{}\">{}</figure>\n", a.key, line_chart(text, series, columns_));
        }
        return html;
    }

  private:
    std::vector<ChartSeries> series_of(const Abscissa& a, const Curve& curve, const std::string& token,
                                       std::deque<std::vector<double>>& scaled) const {
        std::vector<ChartSeries> series;
        for (size_t i = 0; i < runs_.size(); ++i) {
            const ReportEntry& run = runs_[i];
            if (!token.empty() && run.token() != token) continue;
            const auto add = [&](const std::vector<double>& x, const std::vector<double>& y, const char* what,
                                 bool sparse) {
                if (x.empty()) return;
                std::vector<double>& values = scaled.emplace_back(y);
                for (double& v : values) v *= curve.factor;
                series.push_back(
                    {run.name + what, static_cast<int64_t>(i), x, values, sparse, sparse && curve.train});
            };
            if (curve.train) add(run.steps.*a.of_steps, run.steps.*curve.train, "", false);
            if (curve.held_out)
                add(run.held_out.*a.of_held_out, run.held_out.*curve.held_out,
                    curve.train ? ", held out" : "", true);
        }
        return series;
    }

    std::span<const ReportEntry> runs_;
    int64_t columns_;
};

}  // namespace

std::string curve_section(std::span<const ReportEntry> runs, int64_t columns) {
    std::vector<std::string> tokens;
    for (const ReportEntry& run : runs)
        if (std::find(tokens.begin(), tokens.end(), run.token()) == tokens.end())
            tokens.push_back(run.token());
    const Charts charts(runs, columns);
    std::string html;
    for (const std::string& token : tokens) {
        const bool classes = token == "record";
        const std::string unit = fmt::format("{} per {}", classes ? "nats" : "bits", token);
        const double factor = classes ? 1 : 1 / std::numbers::ln2;
        html += charts.figures({.title = "Loss: training, and held out (dotted)", .y_label = unit},
                               {&StepColumns::loss, &HeldOutColumns::loss, factor}, token);
        html += charts.figures({.title = "Held-out loss", .y_label = unit},
                               {nullptr, &HeldOutColumns::loss, factor}, token);
        if (!classes) continue;
        html += charts.figures({.title = "Held-out macro-F1"}, {nullptr, &HeldOutColumns::macro_f1}, token);
        html += charts.figures({.title = "Held-out MCC"}, {nullptr, &HeldOutColumns::mcc}, token);
    }
    html += charts.figures({.title = "Gradient norm before the clip", .log_y = true},
                           {&StepColumns::grad_norm}, "");
    html += charts.figures({.title = "Learning rate"}, {&StepColumns::lr}, "");
    html += charts.figures({.title = "Speed", .y_label = "tokens/s"}, {&StepColumns::tokens_per_s}, "");
    if (html.empty()) return html;
    std::string buttons;
    for (const Abscissa& a : kAbscissas)
        buttons += fmt::format(
            "<input class=\"by-what\" type=\"radio\" name=\"by\" id=\"by-{0}\"{1}><label class=\"axis\" "
            "for=\"by-{0}\">by {2}</label>\n",
            a.key, a.key == kAbscissas[0].key ? " checked" : "", a.label);
    std::string legend;
    for (size_t i = 0; i < runs.size(); ++i)
        legend += fmt::format(
            "<label class=\"axis\"><input type=\"checkbox\" data-run=\"{}\" checked> <span class=\"swatch\" "
            "style=\"background:var(--c{})\"></span>{}</label>\n",
            i, i % 8, html_text(runs[i].name));
    return "<section>\n<h2>Curves</h2>\n" + buttons + "<p>" + legend + "</p>\n<div class=\"by\">\n" + html +
           "</div>\n</section>\n";
}

}  // namespace adder
