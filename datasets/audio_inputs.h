// Which audio files, and which parts of them, a list of --input values stands for, and what names and
// manifests say of them.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datasets/file_pattern.h"
#include "datasets/labels.h"

namespace adder {

struct AudioItem {
    std::string path = {};  // of a file, or "-"
    std::string name =
        {};  // the path from the folder that was given, or the file's own name; what a manifest calls it
    std::string label =
        {};  // of the manifest, else of the pattern, else the name of the folder that the file is in; "" of
             // the files right in a folder that was given, and of standard input
    std::string group = {};
    SplitPart split = SplitPart::none;
    std::optional<double> start_s = {}, end_s = {};  // the part of the file that is meant
    std::map<std::string, std::string> fields = {};  // of the pattern, and `label` and `group`
    bool named = false;      // on the command line, so that it is an error when it cannot be read
    bool store = false;      // what `adder prepare` wrote
    std::string place = {};  // of a manifest's row, for messages: "list.tsv, line 3"
};

struct AudioListing {
    std::vector<AudioItem> items;
    std::vector<std::string> report;      // what was found where, and what was left out
    std::vector<std::string> unreadable;  // folders that cannot be listed, and why
    int64_t n_folder_files = 0;           // files that were found in folders
    bool has_split = false;               // a manifest says which part its rows belong to
};

// Whether a name ends as those of audio files do, in any case.
bool has_audio_suffix(const std::string& path);

// A value is a file, a folder, a pattern of the shell such as 'clips/*.wav' where there is no such file, a
// manifest (labels.h: path, [label], [name], [split], [group], [start end] in seconds), a token store, or "-"
// for standard input. A folder stands for the files in it and its subfolders that have a suffix of audio, in
// the order of their paths, also behind links; hidden ones are left out. The label of a file is the name of
// the folder that it is in, none directly in a folder that is the only one given. A file that ends in .tsv,
// .csv or .jsonl is a manifest whatever it holds.
//
// `pattern` (may be null) is matched with the file's name without suffix or, where it has a '/', with the end
// of its path without suffix; its fields `label` and `group` are what they say. Errors: a path that is
// missing, a folder without audio or that cannot be listed, a shell pattern that fits nothing, the same file, or
// the same part of one, twice, a manifest of sequences, a file that does not fit the pattern.
AudioListing audio_inputs(std::span<const std::string> values, const FilePattern* pattern);

}  // namespace adder
