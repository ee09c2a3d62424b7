#include "apps/cmd_generate.h"

#include "apps/command_line.h"
#include "apps/run_options.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "io/file.h"
#include "model/generate.h"

namespace adder {

namespace {

constexpr CommandText kText = {"generate", kGenerateSummary,
                               "adder generate --checkpoint run --tokens 2000 --num 3 --seed 1 --out new.fa\n"
                               "adder generate --checkpoint run --tokens 200 --prompt ATGAAACGC --top-k 3 --out -"};

std::string header(const cli::GenerateOptions& o, int64_t record, size_t prompt_tokens) {
    std::string text = fmt::format("sample_{} seed={} temperature={}", record, o.seed, o.temperature);
    if (o.top_k) text += fmt::format(" top_k={}", *o.top_k);
    if (o.top_p) text += fmt::format(" top_p={}", *o.top_p);
    if (o.allow_n) text += " allow_n";
    return text + fmt::format(" prompt={} checkpoint={}", prompt_tokens, o.checkpoint.checkpoint);
}

}  // namespace

void run_generate(App& app, const std::vector<std::string>& args) {
    cli::GenerateOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) o.machine.show();
    if (line.print_config) return void(app.results = config_text(list));
    require_all(list);
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();

    LoadedModel loaded(o.checkpoint.checkpoint, o.checkpoint.best, compute);
    loaded.require_language_model();
    if (!loaded.domain.append_sample) fail("generate: records of domain {} cannot be written", loaded.domain.name);
    std::vector<uint16_t> prompt;
    if (!o.prompt.empty())
        prompt = loaded.domain.read_prompt(o.prompt, loaded.data);

    GenerateOptions g;
    g.n_tokens = *o.tokens;
    g.n_records = o.num;
    g.seed = static_cast<uint64_t>(o.seed);
    g.batch = std::min(o.num, o.batch.value_or(16));
    g.tile = std::min(o.tile.value_or(score_tile(compute.device, loaded.model.config())),
                      std::max<int64_t>(1, static_cast<int64_t>(prompt.size())));
    g.sampler.temperature = o.temperature;
    g.sampler.top_k = o.top_k.value_or(0);
    g.sampler.top_p = o.top_p.value_or(0);
    g.sampler.allowed.assign(static_cast<size_t>(loaded.model.vocab()), 0);
    for (uint16_t id : loaded.domain.alphabet(loaded.data, o.allow_n)) g.sampler.allowed[id] = 1;

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

}  // namespace adder
