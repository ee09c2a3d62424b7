#include "pipelines/store.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/ceil_div.h"
#include "core/error.h"
#include "io/hdf5.h"
#include "pipelines/packing.h"
#include "pipelines/store_layout.h"

namespace adder {

namespace {

using nlohmann::json;
using namespace store;

constexpr int64_t kBlockRows = 1 << 18;

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
    fail("[store] {}: {}; hint: the file is damaged, copy it again or prepare it again", path, what);
}

std::string& text_of(TokenRecord& r, size_t column) { return column == 0 ? r.name : column == 1 ? r.label : r.group; }

// The rows of a dataset from the first to the last.
template <class T>
class ColumnStream {
  public:
    ColumnStream(const Hdf5Reader& in, std::string name) : in_(&in), name_(std::move(name)), n_(in.n_rows(name_)) {}
    int64_t rows() const { return n_; }
    bool at_end() const { return next_ == block_.size() && read_ == n_; }
    T next() {
        if (next_ == block_.size()) fill();
        return block_[next_++];
    }
    // The next `count` rows, at the end of `out`.
    template <class Out>
    void append_to(Out& out, int64_t count) {
        while (count > 0) {
            if (next_ == block_.size()) fill();
            const int64_t n = std::min(count, static_cast<int64_t>(block_.size() - next_));
            const auto from = block_.begin() + static_cast<int64_t>(next_);
            out.insert(out.end(), from, from + n);
            next_ += static_cast<size_t>(n);
            count -= n;
        }
    }
    // All that is left of the present block, or else the next one.
    std::span<const T> block() {
        if (next_ == block_.size()) fill();
        return std::span<const T>(block_).subspan(std::exchange(next_, block_.size()));
    }

  private:
    void fill() {
        if (read_ == n_) damaged(in_->path(), fmt::format("dataset {} ends after {} rows", name_, n_));
        const int64_t n = std::min(n_ - read_, kBlockRows);
        block_.resize(static_cast<size_t>(n));
        in_->read(name_, read_, n, block_.data());
        read_ += n;
        next_ = 0;
    }

    const Hdf5Reader* in_;
    std::string name_;
    int64_t n_ = 0, read_ = 0;
    std::vector<T> block_;
    size_t next_ = 0;
};

// Runs along the sequence of all symbols.
class RunStream {
  public:
    RunStream(const Hdf5Reader& in, const std::string& group, int64_t n_symbols)
        : in_(&in), gap_(in, group + "/gap"), length_(in, group + "/length"), n_symbols_(n_symbols) {
        if (in.has(group + "/symbol")) symbol_.emplace(in, group + "/symbol");
    }
    // apply(symbols that lie in a run, its symbol) for every run in [first, first + out.size()).
    template <class Apply>
    void over(int64_t first, std::span<uint8_t> out, Apply&& apply) {
        const int64_t last = first + static_cast<int64_t>(out.size());
        for (int64_t at = first; at < last;) {
            if (end_ <= at && !advance()) return;
            const int64_t begin = std::max(begin_, at), end = std::min(end_, last);
            if (begin >= last) return;
            apply(out.subspan(static_cast<size_t>(begin - first), static_cast<size_t>(end - begin)), value_);
            at = end;
        }
    }

  private:
    bool advance() {
        if (gap_.at_end()) return false;
        const int64_t gap = gap_.next(), length = length_.next();
        if (gap < 0 || length < 1 || gap > n_symbols_ - end_ || length > n_symbols_ - end_ - gap)
            damaged(in_->path(), "a run of symbols outside of the records");
        begin_ = end_ + gap;
        end_ = begin_ + length;
        if (symbol_) value_ = symbol_->next();
        return true;
    }

    const Hdf5Reader* in_;
    ColumnStream<int64_t> gap_, length_;
    std::optional<ColumnStream<uint8_t>> symbol_;
    int64_t n_symbols_, begin_ = 0, end_ = 0;
    uint8_t value_ = 0;
};

// The symbols of record after record.
class SymbolStream {
  public:
    SymbolStream(const Hdf5Reader& in, const json& packing, int64_t n_symbols) : bytes_(in, "symbols") {
        const int64_t per_byte = packing.is_null() ? 1 : 4;
        if (bytes_.rows() != ceil_div(n_symbols, per_byte))
            damaged(in.path(), fmt::format("expected {} symbols, {} a byte, got {} bytes", n_symbols, per_byte,
                                           bytes_.rows()));
        if (packing.is_null()) return;
        packed_.emplace(PackedAlphabet{packing.at("symbols").get<std::array<uint8_t, 4>>(),
                                       packing.at("flag").get<uint8_t>()});
        flagged_.emplace(in, "flagged", n_symbols);
        other_.emplace(in, "other", n_symbols);
    }

    void read(int64_t count, std::vector<uint8_t>& out) {
        out.reserve(static_cast<size_t>(count));
        if (!packed_) return bytes_.append_to(out, count);
        out.resize(static_cast<size_t>(count));
        for (int64_t at = 0; at < count;) {
            if (position_ == block_end_) {
                block_ = bytes_.block();
                block_begin_ = block_end_;
                block_end_ += static_cast<int64_t>(block_.size()) * 4;
            }
            const int64_t n = std::min(count - at, block_end_ - position_);
            unpack(std::span(out).subspan(static_cast<size_t>(at), static_cast<size_t>(n)));
            at += n;
        }
    }

  private:
    void unpack(std::span<uint8_t> out) {
        unpack_symbols(*packed_, block_, position_ - block_begin_, out);
        other_->over(position_, out, [](std::span<uint8_t> run, uint8_t symbol) { std::ranges::fill(run, symbol); });
        flagged_->over(position_, out, [this](std::span<uint8_t> run, uint8_t) {
            for (uint8_t& symbol : run) symbol |= packed_->flag;
        });
        position_ += static_cast<int64_t>(out.size());
    }

    ColumnStream<uint8_t> bytes_;
    std::optional<PackedAlphabet> packed_;
    std::optional<RunStream> flagged_, other_;
    std::span<const uint8_t> block_;
    int64_t block_begin_ = 0, block_end_ = 0, position_ = 0;  // in symbols
};

json read_meta(const Hdf5Reader& in) {
    if (!in.has_attribute("/", "format") || in.attribute<std::string>("/", "format") != kFormat)
        fail("[store] {}: is an HDF5 file but no token store; hint: adder prepare writes token stores", in.path());
    const auto version = in.attribute<int64_t>("/", "version");
    if (version > kVersion)
        fail("[store] {}: has format version {}, this adder reads up to {}; hint: use a newer adder, or prepare it "
             "again",
             in.path(), version, kVersion);
    if (version < 1) damaged(in.path(), fmt::format("format version {}", version));
    const auto text = in.read_all<uint8_t>("meta");
    json meta = json::parse(text.begin(), text.end(), nullptr, false);
    if (!meta.is_object()) damaged(in.path(), "dataset meta holds no JSON object");
    return meta;
}

StoreInfo info_of(const std::string& path, const json& meta, std::string_view domain) {
    try {
        StoreInfo info;
        meta.at("domain").get_to(info.domain);
        if (info.domain != domain)
            fail("[store] {}: holds records of domain {}, expected {}; hint: give sources or a store of {}", path,
                 info.domain, domain, domain);
        info.settings = meta.at("settings");
        meta.at("sources").get_to(info.sources);
        meta.at("classes").get_to(info.classes);
        meta.at("report").get_to(info.report);
        meta.at("digest").get_to(info.digest);
        meta.at("held_out_digest").get_to(info.held_out_digest);
        meta.at("records").get_to(info.n_records);
        meta.at("held_out_records").get_to(info.n_held_out);
        meta.at("symbols").get_to(info.n_symbols);
        meta.at("is_split").get_to(info.is_split);
        if (info.n_held_out < 0 || info.n_held_out > info.n_records || info.n_symbols < 0)
            damaged(path, "counts that make no sense");
        return info;
    } catch (const json::exception& e) {
        damaged(path, fmt::format("dataset meta: {}", e.what()));
    }
}

// Names, labels and sizes of all records; their symbols are still to come.
struct Description {
    std::vector<TokenRecord> records;
    std::vector<int64_t> n_symbols;
};

Description read_description(const Hdf5Reader& in, const StoreInfo& info) {
    for (const char* name : {"record/symbols", "record/source", "record/class_token", "record/name_bytes",
                             "record/label_bytes", "record/group_bytes"})
        if (const int64_t n = in.n_rows(name); n != info.n_records)
            damaged(in.path(), fmt::format("dataset {}: expected {} rows, got {}", name, info.n_records, n));
    Description d;
    d.records.resize(static_cast<size_t>(info.n_records));
    d.n_symbols = in.read_all<int64_t>("record/symbols");
    ColumnStream<int64_t> source(in, "record/source");
    ColumnStream<uint16_t> class_token(in, "record/class_token");
    std::vector<uint8_t> is_read(d.records.size(), 0);
    if (in.has(kIsRead)) is_read = in.read_all<uint8_t>(kIsRead);
    if (is_read.size() != d.records.size())
        damaged(in.path(), fmt::format("dataset {}: {} rows", kIsRead, is_read.size()));
    int64_t left = info.n_symbols;
    for (size_t i = 0; i < d.records.size(); ++i) {
        const int64_t at = source.next();
        if (at < 0 || at >= static_cast<int64_t>(info.sources.size()))
            damaged(in.path(), fmt::format("record {}: source {} of {}", i + 1, at, info.sources.size()));
        d.records[i].file = static_cast<int32_t>(at);
        d.records[i].class_token = class_token.next();
        d.records[i].is_read = is_read[i] != 0;
        if (d.n_symbols[i] < 0 || d.n_symbols[i] > left) damaged(in.path(), "records longer than all symbols");
        left -= d.n_symbols[i];
    }
    if (left != 0) damaged(in.path(), fmt::format("{} symbols that belong to no record", left));
    for (size_t column = 0; column < kTexts.size(); ++column) {
        ColumnStream<uint8_t> bytes(in, kTexts[column]);
        ColumnStream<int64_t> n_bytes(in, std::string(kTexts[column]) + "_bytes");
        left = bytes.rows();
        for (TokenRecord& r : d.records) {
            const int64_t n = n_bytes.next();
            if (n < 0 || n > left) damaged(in.path(), fmt::format("{}: a text outside of it", kTexts[column]));
            left -= n;
            bytes.append_to(text_of(r, column), n);
        }
    }
    return d;
}

// Appends the stored segments, of records that begin at `first`.
void read_split(const Hdf5Reader& in, std::span<const TokenRecord> inputs, int64_t first, Split& to) {
    std::array<std::vector<int64_t>, 4> columns;
    for (size_t i = 0; i < columns.size(); ++i) {
        columns[i] = in.read_all<int64_t>(kSplitColumns[i]);
        if (columns[i].size() != columns[0].size()) damaged(in.path(), "split columns of different lengths");
    }
    int64_t n_used = 0;
    for (size_t i = 0; i < columns[0].size(); ++i) {
        const int64_t part = columns[0][i];
        Segment s{columns[1][i], columns[2][i], columns[3][i]};
        if (part < 0 || part > 2 || s.record < 0 || s.record >= static_cast<int64_t>(inputs.size()) || s.begin < 0 ||
            s.begin > s.end || s.end > static_cast<int64_t>(inputs[static_cast<size_t>(s.record)].symbols.size()))
            damaged(in.path(), fmt::format("segment {} of the split lies outside of the records", i + 1));
        n_used += s.size();
        s.record += first;
        (part == 0 ? to.train : part == 1 ? to.valid : to.test).push_back(s);
    }
    for (const TokenRecord& r : inputs) to.n_unused += static_cast<int64_t>(r.symbols.size());
    to.n_unused -= n_used;
}

void check_digest(const std::string& path, const char* what, std::span<const TokenRecord> records,
                  const std::string& stored) {
    if (const std::string now = digest_of(records); now != stored)
        damaged(path, fmt::format("the {} records have digest {}, expected {}", what, now, stored));
}

}  // namespace

StoreInfo store_info(const std::string& path, std::string_view domain) {
    const Hdf5Reader in(path);
    return info_of(path, read_meta(in), domain);
}

StoreInfo read_store(const std::string& path, std::string_view domain, std::vector<TokenRecord>& records,
                     StoredParts& parts) {
    const Hdf5Reader in(path);
    const json meta = read_meta(in);
    StoreInfo info = info_of(path, meta, domain);
    Description d = read_description(in, info);
    try {
        SymbolStream symbols(in, meta.at("packing"), info.n_symbols);
        for (size_t i = 0; i < d.records.size(); ++i) symbols.read(d.n_symbols[i], d.records[i].symbols);
    } catch (const json::exception& e) {
        damaged(path, fmt::format("dataset meta: packing: {}", e.what()));
    }
    const auto n_inputs = static_cast<size_t>(info.n_records - info.n_held_out);
    const auto inputs = std::span<const TokenRecord>(d.records).first(n_inputs);
    check_digest(path, "input", inputs, info.digest);
    if (info.n_held_out > 0)
        check_digest(path, "held-out", std::span<const TokenRecord>(d.records).subspan(n_inputs), info.held_out_digest);
    if (info.is_split) read_split(in, inputs, static_cast<int64_t>(records.size()), parts.split);
    parts.is_split |= info.is_split;
    if (info.is_split || info.n_held_out > 0) parts.split_by = path;
    const auto first_held_out = std::make_move_iterator(d.records.begin() + static_cast<int64_t>(n_inputs));
    records.insert(records.end(), std::make_move_iterator(d.records.begin()), first_held_out);
    parts.held_out.insert(parts.held_out.end(), first_held_out, std::make_move_iterator(d.records.end()));
    return info;
}

void check_settings(const std::string& path, const json& stored, const json& given, const json& defaults) {
    for (const auto& [option, value] : given.items()) {
        if (value == defaults.value(option, json()) || value == stored.value(option, json())) continue;
        fail("[store] {}: was prepared with --{} {}, not {}; hint: leave it out, or prepare the source again", path,
             option, stored.value(option, json()).dump(), value.dump());
    }
}

}  // namespace adder
