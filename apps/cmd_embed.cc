#include "apps/cmd_embed.h"

#include <chrono>
#include <map>
#include <set>

#include "apps/command_line.h"
#include "apps/embed_options.h"
#include "apps/embedding.h"
#include "apps/labelled_data.h"
#include "apps/output_file.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/ceil_div.h"
#include "core/error.h"
#include "datasets/intervals.h"
#include "io/file.h"
#include "io/sha256.h"
#include "pipelines/record_names.h"

namespace adder {

namespace {

constexpr CommandText kText = {
    "embed", kEmbedSummary,
    "adder embed --checkpoint run --input genes.fa --out genes.h5\n"
    "adder embed --checkpoint run --input genome.fa --regions windows.bed --rc concat --layer all "
    "--out windows.h5"};

// Version of the file's layout.
constexpr int64_t kLayout = 1;

// What is embedded, and what it is called.
struct Named {
    std::vector<Segment> segments;
    std::vector<bool> on_reverse;
    std::vector<std::string> names;
};

Named whole_inputs(const Dataset& data) {
    require_tokens(data);
    Named all;
    for (size_t i = 0; i < data.records.size(); ++i) {
        const TokenRecord& r = data.records[i];
        const int64_t n = data.tokenizer->n_tokens(static_cast<int64_t>(r.symbols.size()));
        all.segments.push_back({static_cast<int64_t>(i), 0, n});
        all.names.push_back(r.name);
    }
    return all;
}

Named regions_of(const BedFile& bed, const Dataset& data) {
    std::vector<int64_t> lengths;
    for (const TokenRecord& r : data.records) lengths.push_back(static_cast<int64_t>(r.symbols.size()));
    const std::vector<int64_t> records = locate(bed, qualified_names(data.records, data.files), lengths, data.unread);
    const int64_t width = data.tokenizer->width();
    Named all;
    for (size_t i = 0; i < bed.intervals.size(); ++i) {
        const Interval& region = bed.intervals[i];
        const int64_t n = data.tokenizer->n_tokens(lengths[static_cast<size_t>(records[i])]);
        const int64_t begin = region.begin / width, end = std::min(ceil_div(region.end, width), n);
        if (begin >= end) fail("[bed] {}, line {}: the region holds no whole token", bed.path, region.line);
        all.segments.push_back({records[i], begin, end});
        all.on_reverse.push_back(region.strand == '-');
        all.names.push_back(region.label());
    }
    return all;
}

// Its rows are told apart by their names alone.
void warn_of_equal_names(Console& console, const BedFile& bed) {
    std::map<std::string, int64_t> lines;
    int64_t n = 0;
    std::string first;
    for (const Interval& i : bed.intervals) {
        const auto [at, fresh] = lines.try_emplace(i.label(), i.line);
        if (!fresh && ++n == 1)
            first = fmt::format("'{}' stands on lines {} and {}", i.label(), at->second, i.line);
    }
    if (n > 0)
        console.line(fmt::format(
            "warning: {}: {} region(s) with the name of an earlier one: {}; probe wants unique names",
            bed.path, n, first));
}

std::string digest_of_file(const std::string& path) {
    const MappedFile file(path);
    Sha256 digest;
    digest.update(file.bytes().data(), static_cast<int64_t>(file.bytes().size()));
    return digest.hex();
}

std::vector<std::pair<std::string, Hdf5Value>> attributes(const cli::EmbedOptions& o,
                                                          const LoadedModel& loaded) {
    return {{"format", "adder embeddings"},
            {"format_version", kLayout},
            {"checkpoint", digest_of_file(loaded.checkpoint + "/model.safetensors")},
            {"layer", o.layer.empty() ? "final" : o.layer},
            {"pool", o.pool},
            {"rc", o.rc.empty() ? "none" : o.rc},
            {"domain", loaded.domain.name},
            {"d_model", loaded.model.config().d_model}};
}

BothStrands strands(const std::string& rc) {
    return rc.empty() ? BothStrands::no : rc == "mean" ? BothStrands::mean : BothStrands::concat;
}

}  // namespace

void run_embed(App& app, const std::vector<std::string>& args) {
    cli::EmbedOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (answered(app, kText, line, list, o.machine)) return;
    require_all(list);
    o.check();
    check_output(list, "out", o.overwrite);
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();

    LoadedModel loaded(o.checkpoint.checkpoint, o.checkpoint.best, compute);
    EmbedSettings settings;
    settings.pool = embed_pool(o.pool);
    settings.outputs = o.outputs(loaded.model.backbone().shown_blocks());
    settings.strands = strands(o.rc);
    settings.tile = o.tile;
    if (!o.rc.empty() && !loaded.tokenizer->two_strands())
        fail("--rc: {} has no other strand; hint: leave --rc out", loaded.domain.name);
    BedFile bed;
    DataOptions reading = loaded.reading(o.data);
    check_scopes(list, line.chosen, reading.in_use());
    reading.needs_classes = false;
    if (!o.regions.empty()) {
        bed = read_bed(o.regions);
        warn_of_equal_names(app.console, bed);
        std::set<std::string> contigs;
        for (const Interval& i : bed.intervals) contigs.insert(i.contig);
        reading.only.assign(contigs.begin(), contigs.end());
    }
    const Dataset data = loaded.domain.load(reading);
    report(app.console, data, list);

    const Named named = o.regions.empty() ? whole_inputs(data) : regions_of(bed, data);
    EmbedTargets targets{data.records, named.segments, named.on_reverse, o.regions.empty()};
    const bool positions = settings.pool == EmbedPool::none;
    const std::vector<int64_t> offsets = positions ? targets.offsets() : std::vector<int64_t>();
    const int64_t n = positions ? offsets.back() : static_cast<int64_t>(named.segments.size());
    const int64_t width = settings.outputs.count() * loaded.model.config().d_model;

    const StopSignals signals;
    EmbeddingFile file(o.out, n, width, settings.strands, rows_in_order(targets, settings));
    const auto began = std::chrono::steady_clock::now();
    try {
        embed(
            loaded.model, compute, *data.tokenizer, targets, settings, file,
            [&](const EmbedProgress& p) {
                const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
                app.console.work(p.done, p.all, data.tokenizer->token().c_str(), spent.count());
            },
            &signals.flag());
    } catch (const Interrupted&) {
        fail("embed: stopped by a signal before the end; nothing was written");
    }
    file.commit(named.names, offsets, attributes(o, loaded));
    app.results = fmt::format("{} embeddings of {} numbers in {}\n", n,
                              settings.strands == BothStrands::concat ? 2 * width : width, o.out);
}

}  // namespace adder
