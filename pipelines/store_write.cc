#include <algorithm>
#include <optional>

#include "core/interrupted.h"
#include "core/json_text.h"
#include "io/hdf5.h"
#include "pipelines/packing.h"
#include "pipelines/store.h"
#include "pipelines/store_layout.h"

namespace adder {

namespace {

using nlohmann::json;
using namespace store;

constexpr size_t kBlockRows = 1 << 16, kBlockSymbols = 1 << 20;
// More costs seconds and saves little: bases hardly compress below two bits.
constexpr int kDeflate = 1;

const std::string& text_of(const TokenRecord& r, size_t column) {
    return column == 0 ? r.name : column == 1 ? r.label : r.group;
}

class StoreWriter {
  public:
    StoreWriter(const std::string& path, const StoreOptions& options) : out_(path), stop_(options.stop) {
        const PackedAlphabet* packed = options.packed;
        if (packed) packer_.emplace(*packed);
        for (const char* name : {"record/symbols", "record/source"}) column(name, DType::i64);
        column("record/class_token", DType::u16);
        for (const char* text : kTexts) {
            column(text, DType::u8);
            column(std::string(text) + "_bytes", DType::i64);
        }
        column("symbols", DType::u8);
        column("meta", DType::u8);
        if (packed) {
            for (const char* name : {"flagged/gap", "flagged/length", "other/gap", "other/length"})
                column(name, DType::i64);
            column("other/symbol", DType::u8);
        }
        out_.attribute("/", "format", std::string(kFormat));
        out_.attribute("/", "version", kVersion);
    }

    void records(std::span<const TokenRecord> records) {
        has_reads_ =
            std::any_of(records.begin(), records.end(), [](const TokenRecord& r) { return r.is_read; });
        if (has_reads_) column(kIsRead, DType::u8);
        for (size_t at = 0; at < records.size(); at += kBlockRows)
            describe(records.subspan(at, std::min(kBlockRows, records.size() - at)));
        for (const TokenRecord& r : records)
            for (size_t at = 0; at < r.symbols.size(); at += kBlockSymbols)
                symbols(std::span(r.symbols).subspan(at, std::min(kBlockSymbols, r.symbols.size() - at)));
    }

    void split(const Dataset& data) {
        for (const char* name : kSplitColumns) column(name, DType::i64);
        int64_t part = 0;
        for (const auto* segments : {&data.train, &data.valid, &data.test}) {
            for (const Segment& s : *segments) {
                // Held-out inputs are known as such.
                if (s.record >= static_cast<int64_t>(data.records.size()) - data.n_held_out) continue;
                const std::array<int64_t, 4> row{part, s.record, s.begin, s.end};
                for (size_t i = 0; i < row.size(); ++i) out_.append(kSplitColumns[i], &row[i], 1);
            }
            ++part;
        }
    }

    void finish(const json& meta) {
        if (packer_) {
            packer_->finish();
            take_packed();
        }
        const std::string text = json_text(meta);
        put("meta", std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
        out_.commit();
    }

  private:
    void column(const std::string& name, DType dtype) { out_.dataset(name, {dtype, 0, kDeflate}); }

    template <class Values>
    void put(const std::string& name, const Values& values) {
        out_.append(name, values.data(), static_cast<int64_t>(values.size()));
    }

    void look_for_stop() const {
        if (stop_ && stop_->load()) throw Interrupted{};
    }

    void describe(std::span<const TokenRecord> block) {
        look_for_stop();
        std::vector<int64_t> n_symbols, source, n_bytes;
        std::vector<uint16_t> class_token;
        std::vector<uint8_t> is_read;
        for (const TokenRecord& r : block) {
            n_symbols.push_back(static_cast<int64_t>(r.symbols.size()));
            source.push_back(r.file);
            class_token.push_back(r.class_token);
            is_read.push_back(r.is_read);
        }
        put("record/symbols", n_symbols);
        put("record/source", source);
        put("record/class_token", class_token);
        if (has_reads_) put(kIsRead, is_read);
        for (size_t i = 0; i < kTexts.size(); ++i) {
            std::vector<uint8_t> bytes;
            n_bytes.clear();
            for (const TokenRecord& r : block) {
                const std::string& text = text_of(r, i);
                bytes.insert(bytes.end(), text.begin(), text.end());
                n_bytes.push_back(static_cast<int64_t>(text.size()));
            }
            put(kTexts[i], bytes);
            put(std::string(kTexts[i]) + "_bytes", n_bytes);
        }
    }

    void symbols(std::span<const uint8_t> block) {
        look_for_stop();
        if (!packer_) return put("symbols", block);
        packer_->add(block);
        take_packed();
    }

    void take_packed() {
        SymbolPacker& p = *packer_;
        put("symbols", p.bytes);
        put("flagged/gap", p.flagged.gap);
        put("flagged/length", p.flagged.length);
        put("other/gap", p.other.gap);
        put("other/length", p.other.length);
        put("other/symbol", p.other_symbol);
        p.bytes.clear();
        p.flagged = p.other = {};
        p.other_symbol.clear();
    }

    Hdf5Writer out_;
    const std::atomic<bool>* stop_;
    bool has_reads_ = false;
    std::optional<SymbolPacker> packer_;
};

}  // namespace

void write_store(const std::string& path, const Dataset& data, const StoreOptions& options) {
    StoreWriter out(path, options);
    out.records(data.records);
    const bool is_split = !data.split_digest.empty();
    if (is_split) out.split(data);
    int64_t n_symbols = 0;
    for (const TokenRecord& r : data.records) n_symbols += static_cast<int64_t>(r.symbols.size());
    json meta = {{"domain", options.domain}, {"settings", options.settings}, {"sources", data.files},
                 {"classes", data.classes}, {"report", data.report}, {"digest", data.digest},
                 {"held_out_digest", data.valid_digest}, {"records", data.records.size()},
                 {"held_out_records", data.n_held_out}, {"symbols", n_symbols}, {"is_split", is_split},
                 {"packing", nullptr}};
    if (options.packed) meta["packing"] = {{"symbols", options.packed->symbols}, {"flag", options.packed->flag}};
    out.finish(meta);
}

}  // namespace adder
