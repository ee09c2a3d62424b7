#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/error.h"

namespace adder {

namespace {

using nlohmann::json;
using ordered_json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian and is mapped as it is");

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
constexpr const char* kMetadataKey = "__metadata__";

struct TypeRow {
    const char* name;
    int64_t bytes;
    DType dtype;
};

constexpr TypeRow kTypes[] = {
    {"F32", 4, DType::f32},      {"F64", 8, DType::f64},  {"BF16", 2, DType::bf16},
    {"I64", 8, DType::i64},      {"U16", 2, DType::u16},  {"U8", 1, DType::u8},
    {"BOOL", 1, DType::none},    {"I8", 1, DType::none},  {"F8_E5M2", 1, DType::none},
    {"F8_E4M3", 1, DType::none}, {"I16", 2, DType::none}, {"F16", 2, DType::none},
    {"I32", 4, DType::none},     {"U32", 4, DType::none}, {"U64", 8, DType::none}};

const TypeRow* row_of(DType dtype) {
    for (const TypeRow& row : kTypes) {
        if (row.dtype == dtype && dtype != DType::none) return &row;
    }
    return nullptr;
}

const TypeRow* row_of(std::string_view name) {
    for (const TypeRow& row : kTypes) {
        if (name == row.name) return &row;
    }
    return nullptr;
}

// False on overflow.
bool multiply(int64_t& product, int64_t factor) {
    return !__builtin_mul_overflow(product, factor, &product);
}

// For messages: on one line, whatever the name holds, and of bounded length.
std::string one_line(std::string_view text) {
    constexpr size_t kLongest = 160;
    return json(text.size() > kLongest ? std::string(text.substr(0, kLongest)) + "..." : std::string(text))
        .dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string shape_text(const std::vector<int64_t>& shape) {
    return json(shape).dump();
}

// A non-negative JSON integer that fits into int64_t.
bool as_size(const json& value, int64_t& out) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return false;
    out = value.get<int64_t>();
    return true;
}

// Parses without recursion limits of its own to fear: depth beyond the format's three levels and doubled
// keys, which a plain parse would accept, are errors.
json parse_strictly(const std::string& path, std::string_view header) {
    std::vector<std::set<std::string>> keys;
    const auto check = [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
            if (depth > 2)
                fail("[safetensors] {}: the header is nested too deeply; hint: the file is damaged", path);
            if (event == json::parse_event_t::object_start) keys.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == json::parse_event_t::key) {
            const std::string& key = value.get_ref<const std::string&>();
            if (!keys.back().insert(key).second) {
                fail("[safetensors] {}: the name {} occurs twice; hint: write the file again", path,
                     one_line(key));
            }
        }
        return true;
    };
    try {
        return json::parse(header.begin(), header.end(), check);
    } catch (const json::exception& e) {
        fail("[safetensors] {}: the header is not valid JSON ({}); hint: the file is damaged, copy it again",
             path, one_line(e.what()));
    }
}

SafetensorsEntry parse_entry(const std::string& path, const std::string& name, const json& value) {
    const auto bad = [&](const std::string& what) {
        fail(
            "[safetensors] {}: tensor {}: {}; hint: the file is damaged or from another version of the "
            "format",
            path, one_line(name), what);
    };
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
        bad("expected exactly dtype, shape and data_offsets");
    }
    const json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
    SafetensorsEntry entry;
    entry.name = name;
    if (!dtype.is_string()) bad("dtype is not a string");
    entry.dtype_name = dtype.get<std::string>();
    const TypeRow* row = row_of(entry.dtype_name);
    if (!row) bad(fmt::format("unknown dtype {}", one_line(entry.dtype_name)));
    entry.dtype = row->dtype;
    if (!shape.is_array()) bad("shape is not a list");
    int64_t n_bytes = row->bytes;
    for (const json& size : shape) {
        int64_t d = 0;
        if (!as_size(size, d)) bad(fmt::format("shape has {}, which is not a size", size.dump()));
        entry.shape.push_back(d);
        if (!multiply(n_bytes, d)) bad(fmt::format("shape {} overflows", shape.dump()));
    }
    int64_t end = 0;
    if (!offsets.is_array() || offsets.size() != 2 || !as_size(offsets[0], entry.offset) ||
        !as_size(offsets[1], end)) {
        bad(fmt::format("data_offsets {} are not two sizes", offsets.dump()));
    }
    entry.n_bytes = end - entry.offset;
    if (entry.n_bytes != n_bytes) {
        bad(fmt::format("{} {} takes {} bytes, data_offsets {} give {}", entry.dtype_name, shape.dump(),
                        n_bytes, offsets.dump(), entry.n_bytes));
    }
    return entry;
}

}  // namespace

int64_t SafetensorsEntry::numel() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
}

SafetensorsWriter::SafetensorsWriter(AtomicFile& file, std::span<const Spec> specs,
                                     const SafetensorsMetadata& metadata)
    : file_(file), specs_(specs.begin(), specs.end()) {
    ordered_json header = ordered_json::object();
    if (!metadata.empty()) header[kMetadataKey] = metadata;
    int64_t offset = 0;
    for (const Spec& spec : specs_) {
        const TypeRow* row = row_of(spec.dtype);
        if (!row)
            fail("[safetensors] {}: tensor {}: dtype {} cannot be written", file.path(), spec.name,
                 name_of(spec.dtype));
        if (spec.name.empty() || spec.name == kMetadataKey || header.contains(spec.name)) {
            fail("[safetensors] {}: tensor name '{}' is empty, reserved or occurs twice", file.path(),
                 spec.name);
        }
        int64_t n_bytes = row->bytes;
        for (const int64_t d : spec.shape) CHECK(d >= 0 && multiply(n_bytes, d));
        header[spec.name] = {
            {"dtype", row->name}, {"shape", spec.shape}, {"data_offsets", {offset, offset + n_bytes}}};
        offset += n_bytes;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins at a multiple of 8
    if (static_cast<int64_t>(text.size()) > kMaxHeaderBytes) {
        fail("[safetensors] {}: the header would have {} bytes, the format allows {}", file.path(),
             text.size(), kMaxHeaderBytes);
    }
    const uint64_t length = text.size();
    file_.write(&length, kLengthBytes);
    file_.write(text);
}

void SafetensorsWriter::write(std::string_view name, const TensorRef& tensor) {
    CHECK(next_ < specs_.size() && specs_[next_].name == name);
    const Spec& spec = specs_[next_++];
    int64_t numel = 1;
    for (const int64_t d : spec.shape) numel *= d;
    CHECK(tensor.dtype == spec.dtype && tensor.contiguous() && (tensor ? tensor.numel() : 0) == numel);
    if (numel > 0) file_.write(tensor.data, tensor.bytes());
}

void SafetensorsWriter::finish() {
    CHECK(next_ == specs_.size());
}

SafetensorsReader::SafetensorsReader(const std::string& path) : file_(path) {
    const int64_t size = static_cast<int64_t>(file_.bytes().size());
    if (size < kLengthBytes) {
        fail(
            "[safetensors] {}: {} bytes are too few for a safetensors file; hint: the file is cut short or "
            "another "
            "format",
            path, size);
    }
    uint64_t length = 0;
    std::memcpy(&length, file_.bytes().data(), kLengthBytes);
    if (length > static_cast<uint64_t>(std::min(kMaxHeaderBytes, size - kLengthBytes))) {
        fail(
            "[safetensors] {}: the header should have {} bytes, the file has {} in all; hint: the file is "
            "cut short "
            "or another format",
            path, length, size);
    }
    const int64_t header_bytes = static_cast<int64_t>(length);
    data_begin_ = kLengthBytes + header_bytes;
    parse_header({reinterpret_cast<const char*>(file_.bytes().data()) + kLengthBytes, length},
                 size - data_begin_);
}

void SafetensorsReader::parse_header(std::string_view header, int64_t data_bytes) {
    const json parsed = parse_strictly(path(), header);
    if (!parsed.is_object())
        fail("[safetensors] {}: the header is not a JSON object; hint: another format", path());
    for (const auto& [name, value] : parsed.items()) {
        if (name != kMetadataKey) {
            entries_.push_back(parse_entry(path(), name, value));
            continue;
        }
        if (!value.is_object())
            fail("[safetensors] {}: __metadata__ is not an object; hint: damaged file", path());
        for (const auto& [key, text] : value.items()) {
            if (!text.is_string()) {
                fail("[safetensors] {}: __metadata__: {} is not a string; hint: damaged file", path(),
                     one_line(key));
            }
            metadata_[key] = text.get<std::string>();
        }
    }
    // Empty tensors share their offset with the tensor that follows.
    std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
        return std::tie(a.offset, a.n_bytes, a.name) < std::tie(b.offset, b.n_bytes, b.name);
    });
    int64_t end = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
        const SafetensorsEntry& entry = entries_[i];
        if (entry.offset != end) {
            fail(
                "[safetensors] {}: tensor {}: its bytes begin at {}, those before end at {} ({}); hint: the "
                "file is "
                "damaged",
                path(), one_line(entry.name), entry.offset, end, entry.offset < end ? "overlap" : "hole");
        }
        if (entry.n_bytes > data_bytes - end) {
            fail(
                "[safetensors] {}: tensor {}: its bytes end at {}, the file has {} bytes of data; hint: the "
                "file is "
                "cut short",
                path(), one_line(entry.name), entry.offset + entry.n_bytes, data_bytes);
        }
        end += entry.n_bytes;
        by_name_.emplace(entry.name, i);
    }
    if (end != data_bytes) {
        fail("[safetensors] {}: {} bytes after the last tensor belong to none; hint: the file is damaged",
             path(), data_bytes - end);
    }
}

const SafetensorsEntry* SafetensorsReader::find(std::string_view name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &entries_[it->second];
}

std::span<const std::byte> SafetensorsReader::bytes(const SafetensorsEntry& entry) const {
    return file_.bytes().subspan(static_cast<size_t>(data_begin_ + entry.offset),
                                 static_cast<size_t>(entry.n_bytes));
}

void SafetensorsReader::read(std::string_view name, const TensorRef& to) const {
    const SafetensorsEntry* entry = find(name);
    if (!entry) fail("[safetensors] {}: there is no tensor {}", path(), name);
    if (entry->dtype != to.dtype || entry->numel() != (to ? to.numel() : 0)) {
        fail("[safetensors] {}: tensor {}: expected {}, got {} {}", path(), name, describe(to),
             entry->dtype_name, shape_text(entry->shape));
    }
    CHECK(to.contiguous());
    if (entry->n_bytes > 0) std::memcpy(to.data, bytes(*entry).data(), static_cast<size_t>(entry->n_bytes));
}

}  // namespace adder
