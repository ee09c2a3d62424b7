// Token stores: the records of a domain in one HDF5 file, as `adder prepare` writes them, so that another
// machine trains on the same symbols without the sources, their codecs or their decompression.
//
// Layout, format version 1; every dataset is chunked, checksummed and compressed:
//   attributes of /       `format` "adder token store", `version` 1
//   meta                  u8: a JSON object in UTF-8: domain, settings, sources, classes, digests, counts,
//   packing record/symbols        i64 (n): symbols of each record; first those of the inputs, then the
//   held-out ones record/class_token    u16 (n): 65535 = none record/source         i64 (n): index into the
//   sources record/is_read        u8 (n): TokenRecord::is_read; not there where no record is a read
//   record/{name,label,group}_bytes  i64 (n) and record/{name,label,group}  u8: texts, one after the other
//   symbols               u8: one byte a symbol, or four symbols a byte, of all records as one sequence
//   flagged/{gap,length}, other/{gap,length} i64, other/symbol u8: of packed symbols, the runs that packing.h
//   describes split/{part,record,begin,end} i64: segments of train (0), valid (1) and test (2), where the
//   inputs were split
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

// Writes what a domain loaded; with `packed` two bits a symbol. Memory beside the records is constant. Errors as
// Hdf5Writer; throws Interrupted, and leaves nothing, when `stop` is set.
struct StoreOptions {
    std::string domain;
    nlohmann::json settings;
    const PackedAlphabet* packed = nullptr;
    const std::atomic<bool>* stop = nullptr;  // once it is set, Interrupted is thrown and nothing left behind
};
void write_store(const std::string& path, const Dataset& data, const StoreOptions& options);

// What a store says of itself. Errors: no HDF5 file, no token store, a newer version, damage.
StoreInfo store_info(const std::string& path);

// What stores bring beside the records of the inputs.
struct StoredParts {
    std::vector<TokenRecord> held_out;
    Split split;           // of the inputs of stores that were split
    bool is_split = false;
    std::string split_by;  // the last store with a split or held-out records; "" = there is none
};

// Appends the records of a store's inputs to `records` and the rest to `parts`, and checks their digests. A record's
// `file` is its index into the store's sources. Memory beside the records is constant. Errors: those of store_info, a store of
// another domain, records that are not what the digest says.
StoreInfo read_store(const std::string& path, std::string_view domain, std::vector<TokenRecord>& records,
                     StoredParts& parts);

// Throws Error when one of `given`, where it differs from its default, is not what the store was made with: symbols
// cannot be made again from symbols. All three: option -> value.
void check_settings(const std::string& path, const nlohmann::json& stored, const nlohmann::json& given,
                    const nlohmann::json& defaults);

}  // namespace adder
