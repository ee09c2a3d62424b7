#include "apps/run_options.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "datasets/file_pattern.h"

namespace adder::cli {

namespace {

constexpr int64_t kMostRecords = 65536;  // of generation at a time

}  // namespace

void CheckpointOptions::add_to(OptionList& list, bool required) {
    list.add({.name = "checkpoint", .value = &checkpoint, .unit = "DIR",
              .help = "a run folder (its last complete checkpoint) or one checkpoint folder", .required = required,
              .is_path = true});
    list.add({.name = "best", .value = &best, .help = "of a run folder, the checkpoint of the lowest held-out loss"});
}

OptionList EvalOptions::list() {
    OptionList l;
    checkpoint.add_to(l, true);
    data.add_input_to(l);
    data.add_reading_to(l);
    data.add_split_to(l);
    l.add({.name = "part", .value = &part, .unit = "train|valid|test|all",
           .help = "what is scored of a split input; the data of the checkpoint's run is split as there unless a split "
                   "option is given",
           .derived = "valid, or all where nothing is split"});
    l.add({.name = "baselines", .value = &baselines, .unit = "K,K-K",
           .help = "also score context models of these orders (0 to 12), such as 1-12, learned from the train part"});
    l.add({.name = "mask-weight", .value = &mask_weight, .unit = "W",
           .help = "how much a lower-case (soft-masked) base counts, in the model's bits and the baselines' alike; 1 scores "
                   "all bases alike. 'tokens' is the sum of what was counted, whole only where W is 0 or 1",
           .range = between(0, 1), .derived = "that of the run", .scopes = {{"domain", {"dna"}}}});
    l.add({.name = "per-record", .value = &per_record, .unit = "FILE.tsv",
           .help = "write name, tokens and nats of every record, of all its parts that are scored together; a tab, line "
                   "break or other control character in a name is written \\t, \\n, \\x1b", .is_path = true});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the file of --per-record"});
    l.add({.name = "tile", .value = &tile, .unit = "T", .help = "tokens a tile", .range = between(1, 1 << 24),
           .derived = "4096 on the CPU, more on a GPU"});
    l.add({.name = "json", .value = &json, .help = "print one JSON object"});
    machine.add_dtype_to(l);
    machine.add_to(l);
    return l;
}

std::vector<int64_t> EvalOptions::baseline_orders() const {
    const auto refuse = [&] {
        throw UsageError(
            fmt::format("--baselines: expected orders from 0 to 12 such as 2,6 or 1-12, got '{}'", baselines));
    };
    std::vector<int64_t> orders;
    const char *at = baselines.data(), *end = at + baselines.size();
    const auto number = [&] {
        int64_t order = -1;
        const auto [next, error] = std::from_chars(at, end, order);
        if (error != std::errc() || order < 0 || order > 12) refuse();
        at = next;
        return order;
    };
    while (at < end) {
        const int64_t first = number();
        if (at < end && *at == '-') ++at;
        const int64_t last = at > baselines.data() && at[-1] == '-' ? number() : first;
        if (last < first || (at < end && *at++ != ',')) refuse();
        for (int64_t order = first; order <= last; ++order) orders.push_back(order);
    }
    return orders;
}

void EvalOptions::check() const {
    baseline_orders();
    data.check();
}

OptionList PrepareOptions::list() {
    OptionList l;
    l.add({.name = "domain", .value = &data.domain, .unit = "dna|audio", .help = "the kind of data", .required = true});
    data.add_input_to(l);
    data.add_symbols_to(l);
    data.add_reading_to(l);
    data.add_split_to(l);
    l.add({.name = "out", .value = &out, .unit = "FILE.h5", .help = "the token store to write", .required = true,
           .is_path = true});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace --out where it exists"});
    l.add({.name = "json", .value = &json, .help = "print one JSON object"});
    return l;
}

OptionList GenerateOptions::list() {
    const OptionScope of_dna{"domain", {"dna"}}, of_audio{"domain", {"audio"}};
    OptionList l;
    checkpoint.add_to(l, true);
    l.add({.name = "tokens", .value = &tokens, .unit = "N",
           .help = "length of a record, the prompt included: bases, k-mers of a model of k-mers, or tokens of audio",
           .range = between(1, kMostPositions), .derived = "from --seconds"});
    l.add({.name = "seconds", .value = &seconds, .unit = "X", .help = "length of a record of audio, the prompt included",
           .range = above(0), .derived = "from --tokens", .scopes = {of_audio}});
    l.add({.name = "num", .value = &num, .unit = "K", .help = "records, of every --class where there are several",
           .range = between(1, 1e9)});
    l.add({.name = "seed", .value = &seed, .unit = "S", .help = "record k depends on the seed and on k alone",
           .range = at_least(0)});
    l.add({.name = "out", .value = &out, .unit = "PATH",
           .help = "FASTA file to write, or - for standard output; audio: a file .wav or .flac of one record, a folder "
                   "(made if need be) of WAV files with a page listen.html to hear and compare them, or - for raw PCM "
                   "while it is made",
           .required = true, .is_path = true});
    l.add({.name = "prompt", .value = &prompt, .unit = "TEXT",
           .help = "how every record begins: bases, or a FASTA file with one record; an audio file, or - for standard input"});
    l.add({.name = "class", .value = &classes, .unit = "NAME",
           .help = "class of the records, of a model trained with --class-conditional; may be repeated", .scopes = {of_audio}});
    l.add({.name = "temperature", .value = &temperature, .unit = "X", .help = "divides the logits; 0 = always the likeliest",
           .range = at_least(0)});
    l.add({.name = "top-k", .value = &top_k, .unit = "K", .help = "draw from the K likeliest tokens",
           .range = at_least(1), .derived = "all"});
    l.add({.name = "top-p", .value = &top_p, .unit = "P",
           .help = "draw from the likeliest tokens that together reach probability P",
           .range = {.low = 0, .high = 1, .low_excluded = true}, .derived = "all"});
    l.add({.name = "allow-n", .value = &allow_n, .help = "let N be generated beside A, C, G and T", .scopes = {of_dna}});
    l.add({.name = "beside", .value = &beside, .unit = "PATH",
           .help = "recordings, or clips of another model, that listen.html has too: clips of one label (or class) can be "
                   "compared blindly; may be repeated",
           .is_path = true, .scopes = {of_audio}});
    l.add({.name = "pattern", .value = &pattern, .unit = "TEXT",
           .help = "what names of files of --beside say, such as '{label}_{group}_{take}'", .scopes = {of_audio}});
    l.add({.name = "spectrogram", .value = &spectrogram, .help = "a PNG beside every audio file", .scopes = {of_audio}});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace what is at --out"});
    l.add({.name = "batch", .value = &batch, .unit = "B", .help = "records at a time; changes no result",
           .range = between(1, kMostRecords), .derived = "16, or --num where that is smaller"});
    l.add({.name = "tile", .value = &tile, .unit = "T", .help = "tokens a tile of the prompt", .range = between(1, 1 << 24),
           .derived = "4096 on the CPU, more on a GPU"});
    machine.add_dtype_to(l);
    machine.add_to(l);
    return l;
}

void GenerateOptions::check() const {
    if (tokens && seconds) throw UsageError("--tokens, --seconds: give one of them");
    if (!tokens && !seconds) throw UsageError("--tokens is missing, or --seconds; hint: how long a record is");
    if (!pattern.empty() && beside.empty()) throw UsageError("--pattern: is about the files of --beside");
    if (!pattern.empty()) FilePattern{pattern};
}

OptionList BenchOptions::list() {
    OptionList l;
    l.add({.name = "op", .value = &op, .unit = "OP",
           .help = "an op, train_step, embed_forward, decode_cuda_graph, loader, or all", .required = true,
           .positional = true});
    l.add({.name = "repeats", .value = &repeats, .unit = "N", .help = "the best of N runs counts",
           .range = between(1, 1000)});
    l.add({.name = "filter", .value = &filter, .unit = "TEXT", .help = "only cases whose name contains this"});
    l.add({.name = "mixer", .value = &mixer, .unit = "mamba1|mamba2", .help = "of a model described by the next four",
           .derived = "both"});
    l.add({.name = "d-model", .value = &d_model, .unit = "M", .help = "time this model instead of the usual ones",
           .range = between(1, 65536), .derived = "256"});
    l.add({.name = "layers", .value = &layers, .unit = "N", .help = "of it", .range = between(1, 1024), .derived = "8"});
    l.add({.name = "batch", .value = &batch, .unit = "B", .help = "sequences at a time", .range = between(1, 1 << 20),
           .derived = "1"});
    l.add({.name = "length", .value = &length, .unit = "L", .help = "tokens a sequence", .range = between(1, 1ll << 40),
           .derived = "4096"});
    l.add({.name = "tile", .value = &tile, .unit = "T", .help = "tokens a tile of a model's rows",
           .range = between(1, 1ll << 40), .derived = "what fits"});
    l.add({.name = "keep", .value = &keep, .unit = "K", .help = "tiles that training need not compute again",
           .range = at_least(0), .derived = "1 with --tile, else what fits"});
    l.add({.name = "memory", .value = &memory, .unit = "BYTES", .help = "that training may take",
           .derived = "90 % of what is free on a GPU"});
    machine.add_dtype_to(l);
    l.add({.name = "json", .value = &json, .help = "print one JSON object a line"});
    machine.add_to(l);
    return l;
}

void BenchOptions::check() const {
    const bool model = op == "train_step" || op == "embed_forward" || op == "decode_cuda_graph";
    if (!model && (describes_model() || !mixer.empty() || tile || keep || memory))
        throw UsageError(
            fmt::format("--mixer, --d-model, --layers, --batch, --length, --tile, --keep, --memory: not for '{}'", op));
    if (op == "decode_cuda_graph" && batch > kMostRecords)
        throw UsageError(fmt::format("--batch: expected a whole number from 1 to {} for decode_cuda_graph, got '{}'",
                                     kMostRecords, *batch));
}

OptionList SelftestOptions::list() {
    OptionList l;
    machine.add_to(l);
    return l;
}

}  // namespace adder::cli
