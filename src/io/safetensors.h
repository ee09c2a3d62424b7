// safetensors: a JSON header that names every tensor, then their bytes, little-endian, without holes.
// Source: the format section of the README of huggingface/safetensors and the checks of its Rust reader.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "io/file.h"

namespace adder {

using SafetensorsMetadata = std::map<std::string, std::string>;

struct SafetensorsEntry {
    std::string name;
    DType dtype = DType::none;        // none: a legal type of the format that adder does not compute with
    std::string dtype_name;           // as in the file: "F32"
    std::vector<int64_t> shape;       // empty = a scalar
    int64_t offset = 0, n_bytes = 0;  // offset from the beginning of the data
    int64_t numel() const;
};

// Writes tensors one after the other, so that no copy of the whole is ever in memory.
class SafetensorsWriter {
  public:
    struct Spec {
        std::string name;
        DType dtype;  // f32, f64, bf16, i64, u16, u8
        std::vector<int64_t> shape;
    };
    // Writes the header at once. `file` outlives the writer; the caller commits it after finish().
    // Errors: a name twice, an empty or reserved name, a header above the format's 100 MB.
    SafetensorsWriter(AtomicFile& file, std::span<const Spec> specs,
                      const SafetensorsMetadata& metadata = {});
    // The next tensor in the order of `specs`; contiguous, of that dtype and number of elements.
    void write(std::string_view name, const TensorRef& tensor);
    // Checks that every tensor has been written.
    void finish();

  private:
    AtomicFile& file_;
    std::vector<Spec> specs_;
    size_t next_ = 0;
};

// Reads through a mapping. The constructor checks the whole header (length against the file's size, JSON
// without doubled keys, types, shapes, offsets: in range, without overlap, without hole); any problem is an
// Error that names the file and the tensor. Afterwards no access can leave the file.
class SafetensorsReader {
  public:
    explicit SafetensorsReader(const std::string& path);

    const std::string& path() const { return file_.path(); }
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of their bytes
    const SafetensorsMetadata& metadata() const { return metadata_; }
    // nullptr when there is none of this name.
    const SafetensorsEntry* find(std::string_view name) const;
    // The bytes as they lie in the file, of any alignment.
    std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
    // Copies into `to`: contiguous, same dtype, same number of elements. Errors: no such tensor, another
    // dtype or size.
    void read(std::string_view name, const TensorRef& to) const;

  private:
    void parse_header(std::string_view header, int64_t data_bytes);

    MappedFile file_;
    int64_t data_begin_ = 0;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, size_t, std::less<>> by_name_;
    SafetensorsMetadata metadata_;
};

}  // namespace adder
