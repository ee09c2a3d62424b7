#include "apps/cmd_report.h"

#include <fmt/format.h>

#include <filesystem>

#include "apps/command_line.h"
#include "apps/html.h"
#include "apps/output_file.h"
#include "apps/report_page.h"
#include "apps/report_results.h"
#include "apps/run_folder.h"
#include "core/error.h"
#include "core/json_text.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr CommandText kText = {"report", kReportSummary,
                               "adder report run\n"
                               "adder report run_a run_b --out compared.html\n"
                               "adder report run probe.json generated.fa --json-out numbers.json"};

struct ReportOptions {
    std::vector<std::string> runs;
    std::string out = "report.html", json_out;
    bool overwrite = false;

    OptionList list() {
        OptionList l;
        l.add({.name = "run",
               .value = &runs,
               .unit = "PATH",
               .help =
                   "the folder of a run, in which eval.json, probe.json, generated.fa and every folder of clips "
                   "that generate wrote (--out RUN/clips) are found too; such a folder alone; a JSON file of "
                   "eval, probe or finetune; a FASTA file; or a WAV or FLAC file; may be repeated",
               .required = true,
               .is_path = true,
               .positional = true});
        l.add({.name = "out", .value = &out, .unit = "FILE.html", .help = "the page; - is standard output"});
        l.add({.name = "json-out",
               .value = &json_out,
               .unit = "FILE.json",
               .help = "also write the bits per base and the probe's rows of the first run of DNA as JSON"});
        l.add(
            {.name = "overwrite", .value = &overwrite, .help = "replace the files of --out and --json-out"});
        return l;
    }
};

// What the page is made of.
std::vector<std::string> files_of(const ReportEntry& entry) {
    std::vector<std::string> files;
    for (const RunFile& file : run_files()) files.push_back(entry.name + "/" + file.name);
    for (const ClipFolder& folder : entry.clips) {
        files.push_back(folder.page);
        files.insert(files.end(), folder.clips.begin(), folder.clips.end());
    }
    return files;
}

}  // namespace

void run_report(App& app, const std::vector<std::string>& args) {
    ReportOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) return void(app.results = config_text(list));
    if (o.runs.empty()) throw UsageError("report: the folder of a run is missing; hint: adder report run");
    check_output_or_stdout(list, "out", o.overwrite);
    check_output(list, "json-out", o.overwrite);

    std::vector<ReportEntry> entries;
    for (const std::string& path : o.runs) {
        entries.push_back(read_entry(path));
        for (const std::string& problem : entries.back().problems)
            app.console.line(fmt::format("warning: {}: {}", entries.back().name, problem));
        check_was_not_read(list, files_of(entries.back()));
    }
    const std::string results = o.json_out.empty() ? "" : json_text(results_json(entries)) + "\n";
    const bool to_stdout = o.out == "-";
    std::string page =
        report_page(entries, to_stdout ? "" : std::filesystem::path(o.out).parent_path().string());
    const auto bytes = static_cast<int64_t>(page.size());
    if (bytes > kMostPageBytes)
        app.console.line(fmt::format("warning: the page has {} bytes, more than {}; hint: give it fewer runs",
                                     grouped(bytes), grouped(kMostPageBytes)));
    if (to_stdout)
        app.results = std::move(page);
    else
        write_file(o.out, page);
    if (!o.json_out.empty()) write_file(o.json_out, results);
    if (!to_stdout)
        app.results = fmt::format(
            "{}: {} of {}, {} bytes\n", o.out, entries.size() == 1 ? "a page" : "one page",
            entries.size() == 1 ? "one run or file" : fmt::format("{} runs and files", entries.size()),
            grouped(bytes));
}

}  // namespace adder
