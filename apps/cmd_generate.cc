#include "apps/cmd_generate.h"

#include <filesystem>

#include "apps/command_line.h"
#include "apps/generate_audio.h"
#include "apps/output_file.h"
#include "apps/run_options.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/printable.h"
#include "io/file.h"
#include "model/generate.h"

namespace adder {

namespace {

constexpr CommandText kText = {"generate", kGenerateSummary,
                               "adder generate --checkpoint run --tokens 2000 --num 3 --seed 1 --out new.fa\n"
                               "adder generate --checkpoint run --tokens 200 --prompt ATGAAACGC --top-k 3 --out -\n"
                               "adder generate --checkpoint speech --seconds 1 --num 10 --class seven --out clips\n"
                               "adder generate --checkpoint speech --seconds 60 --prompt start.flac --out - | "
                               "aplay -q -t raw -f S16_LE -c 1 -r 16000 -"};

std::string header(const cli::GenerateOptions& o, int64_t record, size_t prompt_tokens) {
    std::string text = fmt::format("sample_{} seed={} temperature={}", record, o.seed, o.temperature);
    if (o.top_k) text += fmt::format(" top_k={}", *o.top_k);
    if (o.top_p) text += fmt::format(" top_p={}", *o.top_p);
    if (o.allow_n) text += " allow_n";
    return text + fmt::format(" prompt={} checkpoint={}", prompt_tokens, printable(o.checkpoint.checkpoint));
}

void generate_text(App& app, const cli::GenerateOptions& o, LoadedModel& loaded, const Compute& compute) {
    std::vector<uint16_t> prompt;
    if (!o.prompt.empty()) prompt = loaded.domain.read_prompt(o.prompt, loaded.data);

    GenerateOptions g;
    g.n_tokens = *o.tokens;
    g.n_records = o.num;
    g.seed = static_cast<uint64_t>(o.seed);
    g.batch = std::min(o.num, o.batch.value_or(16));
    g.tile = std::min(o.tile.value_or(score_tile(compute.device, loaded.model.config())),
                      std::max<int64_t>(1, static_cast<int64_t>(prompt.size())));
    g.sampler = sampler_options(o, loaded, 0);

    const StopSignals signals;
    std::optional<AtomicFile> file;
    if (o.out != "-") file.emplace(o.out);
    std::string text;
    try {
        generate(
            loaded.model, compute, g, [&](int64_t) { return std::span<const uint16_t>(prompt); },
            [&](int64_t record, std::span<const uint16_t> tokens) {
                loaded.domain.append_sample(text, header(o, record, prompt.size()), tokens, loaded.data);
                if (!file) return;
                file->write(text);
                text.clear();
            },
            &signals.flag());
    } catch (const Interrupted&) {
        fail("generate: stopped by a signal before the end; nothing was written");
    }
    if (file)
        file->commit();
    else
        app.results = std::move(text);
}

}  // namespace

void run_generate(App& app, const std::vector<std::string>& args) {
    cli::GenerateOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (answered(app, kText, line, list, o.machine)) return;
    require_all(list);
    o.check();
    // A folder of clips has further rules of its own.
    if (std::error_code ignored; o.out.ends_with('/') || std::filesystem::is_directory(o.out, ignored))
        check_output_folder(list, "out", o.overwrite);
    else
        check_output_or_stdout(list, "out", o.overwrite);
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();

    LoadedModel loaded(o.checkpoint.checkpoint, o.checkpoint.best, compute);
    loaded.require_language_model();
    check_scopes(list, line.chosen, loaded.data.in_use());
    if (loaded.domain.signal) return generate_audio(app, o, loaded, compute);
    generate_text(app, o, loaded, compute);
}

}  // namespace adder
