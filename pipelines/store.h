// Token stores: the records of a domain in one HDF5 file, as `adder prepare` writes them, so that another
// machine trains on the same symbols without the sources, their codecs or their decompression.
//
// Layout, format version 1. n records: first those of the inputs, then the held-out ones. Every dataset has one
// dimension and is chunked, checksummed and compressed.
//
//   attributes of /      format         "adder token store"
//                        version        1
//   meta                 u8             a JSON object in UTF-8: domain, settings, sources, classes, report, digests,
//                                       counts, is_split; packing: null, or {symbols, flag} of PackedAlphabet
//   record/symbols       i64 (n)        how many symbols a record has
//   record/source        i64 (n)        which of the sources in meta it is from
//   record/class_token   u16 (n)        65535 = none
//   record/is_read       u8 (n)         1 = TokenRecord::is_read; the dataset is there only where a record is a read
//   record/name_bytes    i64 (n)        how many bytes its name has; so too label_bytes and group_bytes
//   record/name          u8             the names one after the other; so too label and group
//   symbols              u8             of all records as one sequence, a byte each; packed, four a byte
//   Of packed symbols, the runs along that sequence that packing.h describes:
//   flagged/gap, length  i64            where the flag is set
//   other/gap, length    i64            where a symbol stands that is none of the four,
//   other/symbol         u8             and which, without the flag
//   Where the inputs were split, a row for every segment:
//   split/part           i64            0 train, 1 valid, 2 test
//   split/record         i64            of the inputs, from 0
//   split/begin, end     i64            symbols [begin, end) of it
#pragma once
#include <atomic>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/domain.h"
#include "pipelines/packing.h"

namespace adder {

struct StoreInfo {
    std::string domain;
    nlohmann::json settings;            // Domain::symbol_settings
    std::vector<std::string> sources;   // the files that the records come from
    std::vector<std::string> classes;   // names in the order of their tokens
    std::vector<std::string> report;    // what was read, kept and dropped when the store was made
    std::string digest, held_out_digest;  // digest_of the inputs' records, and of the held-out ones ("" without)
    int64_t n_records = 0, n_held_out = 0, n_symbols = 0;
    bool is_split = false;
};

struct StoreOptions {
    std::string domain;
    nlohmann::json settings;                  // Domain::symbol_settings
    const PackedAlphabet* packed = nullptr;   // two bits a symbol; null = a byte each
    const std::atomic<bool>* stop = nullptr;  // once it is set, Interrupted is thrown and nothing left behind
};
// Writes what a domain loaded. Memory beside the records is constant. Errors as Hdf5Writer; throws Interrupted,
// and leaves nothing, when `stop` is set.
void write_store(const std::string& path, const Dataset& data, const StoreOptions& options);

// What a store says of itself. Errors: no HDF5 file, no token store, a newer version, another domain, damage.
StoreInfo store_info(const std::string& path, std::string_view domain);

// What stores bring beside the records of the inputs.
struct StoredParts {
    std::vector<TokenRecord> held_out;
    Split split;           // of the inputs of stores that were split
    bool is_split = false;
    std::string split_by;  // the last store with a split or held-out records; "" = there is none
};

// Appends the records of a store's inputs to `records` and the rest to `parts`, and checks their digests. A record's
// `file` is its index into the store's sources. Memory beside the records is constant. Errors: those of store_info,
// records that are not what the digest says.
StoreInfo read_store(const std::string& path, std::string_view domain, std::vector<TokenRecord>& records,
                     StoredParts& parts);

// Throws Error when one of `given`, where it differs from its default, is not what the store was made with: symbols
// cannot be made again from symbols. All three: option -> value.
void check_settings(const std::string& path, const nlohmann::json& stored, const nlohmann::json& given,
                    const nlohmann::json& defaults);

}  // namespace adder
