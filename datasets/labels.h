// What tables say about examples: label tables name records of other files, manifests name files or hold sequences.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/table.h"

namespace adder {

enum class SplitPart : uint8_t { none, train, valid, test };

struct LabelRow {
    std::string name;                   // printable, as records are called
    std::string label;                  // "" only in a manifest that need not have labels
    std::string group;                  // examples of one group belong to one part; "" without groups
    SplitPart split = SplitPart::none;  // none without a column `split`
    int64_t line = 0;                   // of the file, from 1
};

// Columns `name label [split] [group]`; others are ignored.
struct LabelTable {
    std::string path;
    std::vector<LabelRow> rows;
    bool has_split = false, has_group = false;
};

// `group_column` "" takes the column `group` where there is one. Errors beside those of Table: a missing column, an
// empty name, label, split or group, a split other than train, valid or test, a name that stands twice or a group
// that is in two parts (both lines are named).
LabelTable read_labels(const std::string& path, const std::string& group_column = "");

struct ManifestRow : LabelRow {
    std::string path;      // of a file; a relative one is meant from the manifest's folder, and stands here with that
    std::string sequence;  // or the sequence itself; one of the two is ""
    // The part of the file that is meant, in the domain's unit: seconds, or bases from 0.
    std::optional<double> start, end;
};

// Columns `path` or `sequence`, and `[label] [name] [split] [group] [start end]`; others are ignored. Without a column
// `name` a row is called by its path as the manifest has it, or "row1", "row2", ...
struct Manifest {
    std::string path;
    std::vector<ManifestRow> rows;
    bool has_split = false, has_group = false;
};

bool looks_like_manifest(const std::string& path);
// Errors as read_labels; `need_labels` makes a missing column `label`, or a row without label, one of them. Also: both
// `path` and `sequence`, neither, a start or end that is no number, is negative, or an end that is not after the start.
Manifest read_manifest(const std::string& path, bool need_labels, const std::string& group_column = "");

// The different labels, sorted by their bytes: class i is the i-th.
std::vector<std::string> classes_of(std::span<const std::string> labels);

// For each of `names` the row of the table with that name. One Error when names stand twice, lack a label, or
// labels lack a name: with counts and the first few of each; or when a row's name is that of several files'
// records. `source` says where the names are from, for the message.
std::vector<int64_t> match_labels(const LabelTable& labels, std::span<const std::string> names,
                                  std::string_view source);

}  // namespace adder
