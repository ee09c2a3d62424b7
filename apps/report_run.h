// What `adder report` reads: the folder of a run, or single files that other commands wrote.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace adder {

using OrderedJson = nlohmann::ordered_json;

// metrics.jsonl by columns; NaN stands for null and for what a row lacks.
struct StepColumns {
    std::vector<double> step, loss, grad_norm, lr, tokens, tokens_per_s;
    std::vector<double>
        seconds;  // spent in training steps so far: tokens of a step / its tokens_per_s, added up
};
struct HeldOutColumns {
    std::vector<double> step, loss, tokens, seconds;  // the last two as at that step
    std::vector<double> accuracy, macro_f1, mcc;      // of a classifier
};

// What generate made of audio.
struct ClipFolder {
    std::string page;                // path of its listen.html; empty for a single file
    std::vector<std::string> clips;  // paths of the audio files
};

// What stands in a folder under the names of run_files (run_folder.h), each of them optional, and
// FOLDER/listen.html with the WAV and FLAC files beside it: adder generate --out DIR/FOLDER, of audio; any FOLDER, or
// DIR itself.
struct ReportEntry {
    std::string name;    // the argument, without a final '/'
    std::string folder;  // empty for a single file
    OrderedJson run;     // run.json; null where there is none
    StepColumns steps;
    HeldOutColumns held_out;
    std::optional<int64_t> parameters;
    OrderedJson evaluation, probe, classification;  // null where there is none
    std::string confusion_picture;      // path of confusion.svg, where classification.json does not say it
    std::string samples;                // path of a FASTA file
    std::vector<ClipFolder> clips;      // in the order of their names
    std::vector<std::string> problems;  // lines: what is missing or damaged

    bool is_run() const { return !folder.empty(); }
    bool is_classifier() const;
    const OrderedJson* option(const char* key) const;  // null where it is not known
    // "base", "6-mer", "sample"; of a classifier "record".
    std::string token() const;
    double steps_planned() const;  // NaN where it is not known
};

// A folder with anything of the above; a JSON file of eval, probe or finetune, told apart by its keys; or a
// FASTA file; or audio. Of a folder, what is damaged becomes a problem. Throws Error for a path that is
// missing, a folder that holds none of the above, and a single file that is damaged or something else.
ReportEntry read_entry(const std::string& path);

// The number under `key`; NaN where there is none.
double number_at(const OrderedJson& json, const char* key);

}  // namespace adder
