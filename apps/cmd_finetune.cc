#include "apps/cmd_finetune.h"

#include "apps/command_line.h"
#include "apps/finetuning.h"
#include "apps/output_file.h"
#include "apps/setup.h"

namespace adder {

namespace {

constexpr CommandText kText = {
    "finetune", kFinetuneSummary,
    "adder finetune --checkpoint run --input records.fa --labels labels.tsv --out classifier\n"
    "adder finetune --checkpoint run --input manifest.tsv --freeze --out classifier\n"
    "adder finetune --out classifier --resume"};

}  // namespace

void run_finetune(App& app, const std::vector<std::string>& args) {
    cli::FinetuneOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    o.resolve();
    if (line.print_config) o.machine.show();
    if (line.print_config) return void(app.results = config_text(list));
    if (o.out.empty()) require_all(list);
    Machine machine(o.machine, app.console);
    make_paths_absolute(list);
    check_output_folder(list, "out", o.overwrite);
    RunFolder folder(o.out, o.resume, o.overwrite);
    if (!folder.stored().is_null())
        restore_options(list, own_options(folder.stored().at("options"), list), line.given, folder.path() + "/run.json");
    require_all(list);
    finetune(app, o, list, line.chosen, folder, machine);
}

}  // namespace adder
