// HDF5 files: datasets of rows that grow by appending, chunked, checksummed and compressed on request. HDF5 1.10 and
// newer opens them, h5py too. Source: HDF5 File Format Specification, version 3.0 (The HDF Group).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"

namespace adder {

// An attribute: one string, integer or number, of a group ("/" is the file itself) or of a dataset.
using Hdf5Value = std::variant<std::string, int64_t, double>;

// The shape and storage of a dataset whose number of rows n is not known in advance.
struct Hdf5Rows {
    DType dtype = DType::f32;  // u8, u16, i64, f32, f64
    int64_t columns = 0;       // 0: one value a row, shape (n); else shape (n, columns)
    int deflate = 0;           // zlib level 1 to 9, bytes of a value shuffled first; 0: as it is
};

// Writes a file that appears under its name with commit(), complete and on disk, or not at all. Memory is one chunk
// (256 KiB, or one row) a dataset. Names may hold groups ("dna/symbols"), which are made as needed. Errors name file,
// dataset and reason: what AtomicFile throws, a name twice, an unknown one, rows of another type. One thread.
class Hdf5Writer {
  public:
    explicit Hdf5Writer(const std::string& path);
    ~Hdf5Writer();
    Hdf5Writer(Hdf5Writer&&) noexcept;

    void group(const std::string& name);
    void dataset(const std::string& name, const Hdf5Rows& rows);
    // Shape (n): UTF-8 of any length, without NUL bytes.
    void strings(const std::string& name);

    // Rows at the end of a dataset; n_rows * max(columns, 1) values of its type.
    template <class T>
    void append(const std::string& name, const T* rows, int64_t n_rows) {
        append(name, dtype_of<T>, rows, n_rows);
    }
    void append(const std::string& name, const std::vector<std::string>& values);
    // Of a group or dataset that exists already.
    void attribute(const std::string& object, const std::string& name, const Hdf5Value& value);
    // Once, and last.
    void commit();

  private:
    void append(const std::string& name, DType dtype, const void* rows, int64_t n_rows);
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

struct Hdf5Info {
    DType dtype = DType::none;    // none: strings, or a type that adder does not use
    bool is_strings = false;
    std::vector<int64_t> shape;   // empty: a single value
    std::string text() const;     // "f32 (2,128)", for messages
};

// Reads slices. Errors name file, dataset and a remedy: a missing or foreign file, a truncated or damaged one (metadata
// and chunks are checksummed), a missing dataset, another type than asked for, rows past the end. One thread.
class Hdf5Reader {
  public:
    explicit Hdf5Reader(const std::string& path);
    ~Hdf5Reader();
    Hdf5Reader(Hdf5Reader&&) noexcept;
    const std::string& path() const;

    // Whether there is a dataset or group of this name.
    bool has(const std::string& name) const;
    // What a group holds, by name.
    std::vector<std::string> names(const std::string& group = "/") const;
    Hdf5Info info(const std::string& name) const;
    // The rows of a dataset. Throws also where they are more than a file of this size can hold, so that a damaged or hostile
    // file cannot ask for memory at will.
    int64_t n_rows(const std::string& name) const;

    // Rows [first, first + n_rows) of a dataset of one or two dimensions and exactly this type into `out`.
    template <class T>
    void read(const std::string& name, int64_t first, int64_t n_rows, T* out) const {
        read(name, dtype_of<T>, first, n_rows, out);
    }
    template <class T>
    std::vector<T> read_all(const std::string& name) const {
        std::vector<T> values(static_cast<size_t>(n_values(name)));
        read(name, 0, n_rows(name), values.data());
        return values;
    }
    std::vector<std::string> read_strings(const std::string& name, int64_t first, int64_t n_rows) const;

    bool has_attribute(const std::string& object, const std::string& name) const;
    // T: std::string, int64_t or double.
    template <class T>
    T attribute(const std::string& object, const std::string& name) const {
        Hdf5Value value = attribute_value(object, name);
        if (const T* held = std::get_if<T>(&value)) return *held;
        wrong_attribute(object, name);
    }

  private:
    void read(const std::string& name, DType dtype, int64_t first, int64_t n_rows, void* out) const;
    int64_t n_values(const std::string& name) const;
    Hdf5Value attribute_value(const std::string& object, const std::string& name) const;
    [[noreturn]] void wrong_attribute(const std::string& object, const std::string& name) const;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Whether the file begins as HDF5 does. False for what cannot be read.
bool looks_like_hdf5(const std::string& path);

}  // namespace adder
