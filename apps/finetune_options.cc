#include "apps/finetune_options.h"

#include "core/error.h"

namespace adder::cli {

void FinetuneOptions::add_training_to(OptionList& l) {
    l.add({.name = "pool", .value = &pool, .unit = "mean|last|max",
           .help = "what the head reads of a record: of all positions, after the final norm"});
    l.add({.name = "freeze", .value = &freeze, .help = "train the head alone; the model stays as it is"});
    l.add({.name = "epochs", .value = &epochs, .unit = "E", .help = "times that every training record is seen",
           .range = above(0), .derived = "10 without --steps"});
    l.add({.name = "steps", .value = &steps, .unit = "S", .help = "steps of the whole run; may grow on resume",
           .range = at_least(1), .on_resume = OnResume::grow, .derived = "what --epochs take"});
    l.add({.name = "lr", .value = &lr, .unit = "X", .help = "peak learning rate", .range = above(0),
           .derived = "1e-4, or 1e-3 with --freeze"});
    l.add({.name = "head-lr", .value = &head_lr, .unit = "X", .help = "peak learning rate of the head", .range = above(0),
           .derived = "1e-3, or --lr with --freeze"});
    l.add({.name = "batch", .value = &batch, .unit = "B", .help = "records a micro-batch, packed into rows",
           .range = between(1, 1 << 20)});
    l.add({.name = "accumulation", .value = &accumulation, .unit = "N", .help = "micro-batches a step",
           .range = between(1, 1 << 20)});
    l.add({.name = "rc-augment", .value = &rc_augment, .unit = "P",
           .help = "probability that training reads a record on the other strand; not for labels that depend on it",
           .range = between(0, 1), .scopes = {{"domain", {"dna"}}}});
    l.add({.name = "class-weights", .value = &class_weights, .unit = "none|balanced",
           .help = "how often a record counts: once, or so that all classes count the same together"});
    l.add({.name = "select", .value = &select, .unit = "macro-f1|mcc",
           .help = "what the best checkpoint has most of, on the valid records; of equal ones the lower loss"});
    l.add({.name = "warmup", .value = &warmup, .unit = "F", .help = "part of the steps with a rising rate",
           .range = between(0, 1)});
    l.add({.name = "lr-final", .value = &lr_final, .unit = "F", .help = "rate at the end of the cosine, as a part of the peak",
           .range = between(0, 1)});
    l.add({.name = "weight-decay", .value = &weight_decay, .unit = "X", .help = "decoupled; not for norms, biases, A and D",
           .range = at_least(0)});
    l.add({.name = "clip", .value = &clip, .unit = "X", .help = "largest norm of the gradient; 0 for none",
           .range = at_least(0)});
    l.add({.name = "seed", .value = &seed, .unit = "K", .help = "of the split and of the order of the records",
           .range = at_least(0)});
}

void FinetuneOptions::add_run_to(OptionList& l) {
    l.add({.name = "eval-every", .value = &eval_every, .unit = "K", .help = "steps between evaluations of the valid records",
           .range = at_least(1), .derived = "an epoch"});
    l.add({.name = "tile", .value = &tile, .unit = "T",
           .help = "tokens a tile; memory does not grow with the length beyond it", .range = between(1, 1ll << 40),
           .derived = "the largest that fits into --memory"});
    l.add({.name = "keep", .value = &keep, .unit = "K",
           .help = "last tiles that backward need not recompute; changes no bit of a result", .range = at_least(0),
           .on_resume = OnResume::any, .derived = "1 with --tile, else what fits"});
    l.add({.name = "memory", .value = &memory, .unit = "BYTES", .help = "memory to plan for, such as 8GB or 512MiB",
           .on_resume = OnResume::any, .derived = "90 % of what is free on a GPU, half of the machine's on the CPU"});
    l.add({.name = "out", .value = &out, .unit = "DIR",
           .help = "folder of the run: checkpoints, metrics, classification.json, confusion.svg", .on_resume = OnResume::any,
           .required = true, .is_path = true});
    l.add({.name = "save-every", .value = &save_every, .unit = "K", .help = "steps between checkpoints",
           .range = at_least(1), .on_resume = OnResume::any, .derived = "every 10 minutes and at the end"});
    l.add({.name = "stop-after", .value = &stop_after, .unit = "K", .help = "end after step K of the S",
           .range = at_least(1), .on_resume = OnResume::any, .derived = "after the last"});
    l.add({.name = "resume", .value = &resume, .help = "go on from the last checkpoint in --out", .on_resume = OnResume::any});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the run in --out", .on_resume = OnResume::any});
    l.add({.name = "json", .value = &json, .help = "print one JSON object", .on_resume = OnResume::any});
}

OptionList FinetuneOptions::list() {
    OptionList l;
    checkpoint.add_to(l, true);
    data.add_input_to(l);
    data.add_reading_to(l);
    l.add({.name = "labels", .value = &labels, .unit = "FILE.tsv",
           .help = "table with the columns name and label, optionally split (train, valid, test) and group",
           .derived = "the input is a manifest that has them", .is_path = true});
    l.add({.name = "group", .value = &group, .unit = "COLUMN", .help = "column of --labels whose values are not divided",
           .derived = "group, where there is one"});
    l.add({.name = "valid-fraction", .value = &valid_fraction, .unit = "F",
           .help = "of the training records to choose the best step by, where no column split names some; of every class "
                   "alike, groups whole", .range = {.low = 0, .high = 0.5}});
    add_training_to(l);
    add_run_to(l);
    machine.add_dtype_to(l);
    machine.add_to(l);
    for (const char* name : {"checkpoint", "input"}) l.find(name)->derived = "without --resume";
    return l;
}

void FinetuneOptions::resolve() {
    if (resume && overwrite) throw UsageError("--resume and --overwrite exclude each other");
    if (steps && epochs) throw UsageError("--steps and --epochs exclude each other");
    if (!group.empty() && labels.empty()) throw UsageError("--group: names a column of --labels, which is missing");
    if (!epochs && !steps) epochs = 10;
    if (!lr) lr = freeze ? 1e-3 : 1e-4;
    if (!head_lr) head_lr = freeze ? *lr : 1e-3;
}

OptionList PredictOptions::list() {
    OptionList l;
    checkpoint.add_to(l, true);
    data.add_input_to(l);
    data.add_reading_to(l);
    l.add({.name = "out", .value = &out, .unit = "FILE.tsv",
           .help = "table to write: name, label, and the probability of each class; - for standard output",
           .required = true, .is_path = true});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the file of --out"});
    l.add({.name = "batch", .value = &batch, .unit = "TOKENS", .help = "tokens computed at a time; changes no label",
           .range = between(1, 1 << 26), .derived = "4096 on the CPU, more on a GPU"});
    machine.add_dtype_to(l);
    machine.add_to(l);
    return l;
}

}  // namespace adder::cli
