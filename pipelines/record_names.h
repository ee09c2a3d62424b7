// Names of records that come from several files.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pipelines/records.h"

namespace adder {

// What the files are called in "file:name": by as much of the end of their path as tells them apart, printable.
std::vector<std::string> file_labels(std::span<const std::string> files);

// What the records are called from here on, in tables, HDF5 files and messages: printable (file names may hold tabs and
// line breaks), and "file:name" where a name occurs in more than one file.
void settle_names(std::span<TokenRecord> records, std::span<const std::string> files);

// The name within its file: what stands behind the "file:" of settle_names. `labels` are file_labels of the
// files.
std::string_view bare_name(const TokenRecord& record, std::span<const std::string> labels);

// "file:name" of every record, also of those that are told apart by their names.
std::vector<std::string> qualified_names(std::span<const TokenRecord> records, std::span<const std::string> files);

// The only records that are asked for, by name or "file:name"; without names all are.
class WantedNames {
  public:
    explicit WantedNames(const std::vector<std::string>& names);
    bool all() const { return names_.empty(); }
    // `name` is the record's within its file.
    bool has(const std::string& name) const { return all() || names_.count(name) > 0; }

  private:
    std::unordered_set<std::string> names_;  // and what stands behind each ':' of them
};

// Finds records by name or by "file:name". Both spans outlive it.
class RecordNames {
  public:
    RecordNames(std::span<const TokenRecord> records, std::span<const std::string> files);
    // Errors, beginning with `what` ("held-out contigs"): no record of that name (names some), several.
    int64_t find(const std::string& name, std::string_view what) const;

  private:
    std::span<const TokenRecord> records_;
    std::unordered_map<std::string, int64_t> index_;  // -1: several
};

// "1 record", "2 records"
std::string counted(int64_t n, const char* noun);

}  // namespace adder
