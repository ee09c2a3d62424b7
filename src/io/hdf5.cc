// Longer than other files because HDF5's headers stay in one.
#include "io/hdf5.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "io/file.h"
#include "io/hdf5_heaps.h"

namespace adder {

namespace {

constexpr int64_t kChunkBytes = 1 << 18;
// Deflate stores at least one byte in 1032; an unfiltered dataset less.
constexpr int64_t kMostExpansion = 1032;

// Owns one HDF5 identifier.
class Handle {
  public:
    using Close = herr_t (*)(hid_t);
    Handle() = default;
    Handle(hid_t id, Close how) : id_(id), close_(how) {}
    Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~Handle() { close(); }
    operator hid_t() const { return id_; }
    explicit operator bool() const { return id_ >= 0; }
    bool close() { return id_ < 0 || close_(std::exchange(id_, -1)) >= 0; }

  private:
    hid_t id_ = -1;
    Close close_ = nullptr;
};

// The library neither prints its errors nor tidies up at exit: after a full disk that would loop and print.
void prepare_library() {
    static const bool once = H5dont_atexit() >= 0;
    (void)once;
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

// What the innermost function of the library had to say about the last error.
std::string reason() {
    std::string text;
    const auto take_first = [](unsigned, const H5E_error2_t* error, void* to) -> herr_t {
        auto& out = *static_cast<std::string*>(to);
        if (out.empty() && error->desc) out = error->desc;
        return 0;
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &text);
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.empty() ? "no reason given" : text;
}

// The errno of a system call that failed, which the library says in the middle of a line of its own state; 0 = there is
// none in `text`.
int errno_in(const std::string& text) {
    constexpr std::string_view kBefore = "errno = ";
    const size_t at = text.find(kBefore);
    return at == text.npos ? 0 : std::atoi(text.c_str() + at + kBefore.size());
}

hid_t memory_type(DType t) {
    switch (t) {
        case DType::u8: return H5T_NATIVE_UINT8;
        case DType::u16: return H5T_NATIVE_UINT16;
        case DType::i64: return H5T_NATIVE_INT64;
        case DType::f32: return H5T_NATIVE_FLOAT;
        case DType::f64: return H5T_NATIVE_DOUBLE;
        case DType::bf16:
        case DType::none: break;
    }
    fail("[hdf5] {} has no counterpart in HDF5", name_of(t));
}

hid_t file_type(DType t) {
    switch (t) {
        case DType::u8: return H5T_STD_U8LE;
        case DType::u16: return H5T_STD_U16LE;
        case DType::i64: return H5T_STD_I64LE;
        case DType::f32: return H5T_IEEE_F32LE;
        default: return H5T_IEEE_F64LE;
    }
}

DType dtype_of_type(hid_t type) {
    const size_t size = H5Tget_size(type);
    switch (H5Tget_class(type)) {
        case H5T_INTEGER: {
            const bool is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
            if (is_signed) return size == 8 ? DType::i64 : DType::none;
            return size == 1 ? DType::u8 : size == 2 ? DType::u16 : DType::none;
        }
        case H5T_FLOAT:
            return size == 4 ? DType::f32 : size == 8 ? DType::f64 : DType::none;
        default:
            return DType::none;
    }
}

// Of any length: Python reads an attribute of this type as str, one of a fixed length as bytes.
Handle string_type() {
    Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

// Files whose metadata carries checksums, and no locks: a writer has a name of its own, readers change nothing.
Handle file_access() {
    Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_file_locking(access, false, true);
    return access;
}

}  // namespace

struct Hdf5Writer::Impl {
    // A dataset; the file learns of it with the first full chunk, so that a small one gets a small chunk.
    struct Column {
        Hdf5Rows rows;
        bool is_strings = false;
        int64_t n_written = 0, n_pending = 0, chunk_rows = 0;
        std::vector<std::byte> pending;
        std::vector<std::string> pending_strings;
        Handle dataset;
        int64_t width() const { return std::max<int64_t>(rows.columns, 1); }
        int64_t row_bytes() const {
            return is_strings ? static_cast<int64_t>(sizeof(char*)) : width() * size_of(rows.dtype);
        }
    };
    struct Attribute {
        std::string object, name;
        Hdf5Value value;
    };

    AtomicFile output;
    Handle file;
    std::map<std::string, Column> columns;
    std::vector<Attribute> attributes;

    explicit Impl(const std::string& path) : output(path) {
        prepare_library();
        const Handle access = file_access(), root(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
        // Here and below: the same content makes the same bytes, whenever it is written.
        H5Pset_obj_track_times(root, false);
        file = Handle(H5Fcreate(output.temporary().c_str(), H5F_ACC_TRUNC, root, access), H5Fclose);
        if (!file) bad("/", "cannot begin the file");
    }

    [[noreturn]] void bad(const std::string& object, const char* what) const {
        const std::string text = reason();
        if (const int code = errno_in(text); code != 0) fail_system("write", output.path(), code);
        fail("[hdf5] {}: {}: {}: {}; hint: check the disk and the path", output.path(), object, what, text);
    }

    Column& column(const std::string& name) {
        const auto found = columns.find(name);
        if (found == columns.end()) fail("[hdf5] {}: there is no dataset {}", output.path(), name);
        return found->second;
    }

    Column& add(const std::string& name, Hdf5Rows rows, bool is_strings) {
        CHECK(rows.columns >= 0 && rows.deflate >= 0 && rows.deflate <= 9);
        if (!is_strings) memory_type(rows.dtype);
        const auto [at, is_new] = columns.try_emplace(name);
        if (!is_new) fail("[hdf5] {}: dataset {} exists already", output.path(), name);
        at->second.rows = rows;
        at->second.is_strings = is_strings;
        at->second.chunk_rows = std::max<int64_t>(1, kChunkBytes / at->second.row_bytes());
        return at->second;
    }

    void make_groups(const std::string& name);
    void create(const std::string& name, Column& c);
    void flush(const std::string& name, Column& c);
    void write_attribute(const Attribute& a);
};

// The groups before each '/' of a name.
void Hdf5Writer::Impl::make_groups(const std::string& name) {
    const Handle untimed(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    H5Pset_obj_track_times(untimed, false);
    for (size_t at = name.find('/', 1); at != name.npos; at = name.find('/', at + 1)) {
        const std::string group = name.substr(0, at);
        if (H5Lexists(file, group.c_str(), H5P_DEFAULT) > 0) continue;
        const Handle made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, untimed, H5P_DEFAULT), H5Gclose);
        if (!made) bad(group, "cannot make the group");
    }
}

void Hdf5Writer::Impl::create(const std::string& name, Column& c) {
    if (c.dataset) return;
    const int rank = c.rows.columns > 0 ? 2 : 1;
    const auto columns_of_row = static_cast<hsize_t>(c.width());
    const std::array<hsize_t, 2> none{0, columns_of_row}, unlimited{H5S_UNLIMITED, columns_of_row};
    // Without a single full chunk, one of the size that is needed.
    const int64_t chunk_rows = c.n_pending > 0 ? std::min(c.n_pending, c.chunk_rows) : 1;
    const std::array<hsize_t, 2> chunk{static_cast<hsize_t>(chunk_rows), columns_of_row};
    const Handle space(H5Screate_simple(rank, none.data(), unlimited.data()), H5Sclose);
    const Handle layout(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    make_groups(name);
    H5Pset_obj_track_times(layout, false);
    H5Pset_chunk(layout, rank, chunk.data());
    if (c.rows.deflate > 0) {
        if (size_of(c.rows.dtype) > 1) H5Pset_shuffle(layout);
        H5Pset_deflate(layout, static_cast<unsigned>(c.rows.deflate));
    }
    // The library has no checksum of strings, whose bytes stand elsewhere.
    if (!c.is_strings) H5Pset_fletcher32(layout);
    const Handle text = c.is_strings ? string_type() : Handle();
    const hid_t type = c.is_strings ? hid_t{text} : file_type(c.rows.dtype);
    c.dataset = Handle(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, layout, H5P_DEFAULT), H5Dclose);
    if (!c.dataset) bad(name, "cannot make the dataset");
}

void Hdf5Writer::Impl::flush(const std::string& name, Column& c) {
    create(name, c);
    if (c.n_pending == 0) return;
    const int rank = c.rows.columns > 0 ? 2 : 1;
    const auto width = static_cast<hsize_t>(c.width());
    const std::array<hsize_t, 2> size{static_cast<hsize_t>(c.n_written + c.n_pending), width},
        first{static_cast<hsize_t>(c.n_written), 0}, count{static_cast<hsize_t>(c.n_pending), width};
    if (H5Dset_extent(c.dataset, size.data()) < 0) bad(name, "cannot extend the dataset");
    const Handle space(H5Dget_space(c.dataset), H5Sclose),
        memory(H5Screate_simple(rank, count.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, first.data(), nullptr, count.data(), nullptr);
    herr_t done = -1;
    if (c.is_strings) {
        std::vector<const char*> texts;
        for (const std::string& s : c.pending_strings) texts.push_back(s.c_str());
        done = H5Dwrite(c.dataset, string_type(), memory, space, H5P_DEFAULT, texts.data());
    } else {
        done = H5Dwrite(c.dataset, memory_type(c.rows.dtype), memory, space, H5P_DEFAULT, c.pending.data());
    }
    if (done < 0) bad(name, "writing failed");
    c.n_written += std::exchange(c.n_pending, 0);
    c.pending.clear();
    c.pending_strings.clear();
}

void Hdf5Writer::Impl::write_attribute(const Attribute& a) {
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose), text = string_type();
    const Handle object(H5Oopen(file, a.object.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object) bad(a.object, "there is no such group or dataset");
    const auto put = [&](hid_t type, hid_t memory, const void* value) {
        const Handle attribute(H5Acreate2(object, a.name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
        if (!attribute || H5Awrite(attribute, memory, value) < 0) bad(a.object, ("attribute " + a.name).c_str());
    };
    if (const auto* s = std::get_if<std::string>(&a.value)) {
        const char* bytes = s->c_str();
        put(text, text, &bytes);
    } else if (const auto* i = std::get_if<int64_t>(&a.value)) {
        put(H5T_STD_I64LE, H5T_NATIVE_INT64, i);
    } else {
        put(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &std::get<double>(a.value));
    }
}

Hdf5Writer::Hdf5Writer(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
Hdf5Writer::~Hdf5Writer() = default;
Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;

void Hdf5Writer::group(const std::string& name) {
    prepare_library();
    impl_->make_groups(name + "/");
}

void Hdf5Writer::dataset(const std::string& name, const Hdf5Rows& rows) { impl_->add(name, rows, false); }

void Hdf5Writer::strings(const std::string& name) { impl_->add(name, {}, true); }

void Hdf5Writer::append(const std::string& name, DType dtype, const void* rows, int64_t n_rows) {
    prepare_library();
    Impl::Column& c = impl_->column(name);
    if (c.is_strings || c.rows.dtype != dtype)
        fail("[hdf5] {}: dataset {}: expected {}, got {}", impl_->output.path(), name,
             c.is_strings ? "strings" : name_of(c.rows.dtype), name_of(dtype));
    const auto* from = static_cast<const std::byte*>(rows);
    while (n_rows > 0) {
        const int64_t n = std::min(n_rows, c.chunk_rows - c.n_pending);
        c.pending.insert(c.pending.end(), from, from + n * c.row_bytes());
        c.n_pending += n;
        from += n * c.row_bytes();
        n_rows -= n;
        if (c.n_pending == c.chunk_rows) impl_->flush(name, c);
    }
}

void Hdf5Writer::append(const std::string& name, const std::vector<std::string>& values) {
    prepare_library();
    Impl::Column& c = impl_->column(name);
    if (!c.is_strings)
        fail("[hdf5] {}: dataset {}: expected {}, got strings", impl_->output.path(), name, name_of(c.rows.dtype));
    for (const std::string& value : values) {
        if (value.find('\0') != std::string::npos)
            fail("[hdf5] {}: dataset {}: a string with a NUL byte; hint: the input is damaged", impl_->output.path(),
                 name);
        c.pending_strings.push_back(value);
        if (++c.n_pending == c.chunk_rows) impl_->flush(name, c);
    }
}

void Hdf5Writer::attribute(const std::string& object, const std::string& name, const Hdf5Value& value) {
    impl_->attributes.push_back({object, name, value});
}

void Hdf5Writer::commit() {
    prepare_library();
    for (auto& [name, c] : impl_->columns) impl_->flush(name, c);
    for (const Impl::Attribute& a : impl_->attributes) impl_->write_attribute(a);
    for (auto& [name, c] : impl_->columns)
        if (!c.dataset.close()) impl_->bad(name, "writing failed");
    if (!impl_->file.close()) impl_->bad("/", "writing failed");
    impl_->output.commit();
}

std::string Hdf5Info::text() const {
    std::string t = is_strings ? "strings" : dtype == DType::none ? "another type" : name_of(dtype);
    for (size_t i = 0; i < shape.size(); ++i) t += fmt::format("{}{}", i == 0 ? " (" : ",", shape[i]);
    return shape.empty() ? t : t + ")";
}

struct Hdf5Reader::Impl {
    std::string path;
    int64_t file_bytes = 0;
    Handle file;
    bool heaps_checked = false;

    explicit Impl(const std::string& p) : path(p) {
        prepare_library();
        file_bytes = static_cast<int64_t>(MappedFile(path).bytes().size());
        if (H5Fis_hdf5(path.c_str()) <= 0) fail("[hdf5] {}: is not an HDF5 file; hint: check the name", path);
        const Handle access = file_access();
        file = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
        if (!file) bad("/", "cannot be opened");
    }

    std::string reason_for(const std::string& object, const std::string& what) const {
        return fmt::format("[hdf5] {}: {}: {}: {}; hint: the file is damaged or cut short, copy or write it again", path,
                           object, what, reason());
    }
    [[noreturn]] void bad(const std::string& object, const std::string& what) const {
        throw Error(reason_for(object, what));
    }

    // Before the first string of any length is read.
    void check_heaps() {
        const Handle creation(H5Fget_create_plist(file), H5Pclose);
        size_t offset_bytes = 0, length_bytes = 0;
        H5Pget_sizes(creation, &offset_bytes, &length_bytes);
        if (!heaps_checked && length_bytes == 8 && !heaps_are_sound(MappedFile(path).bytes()))
            fail("[hdf5] {}: its strings are damaged; hint: copy or write it again", path);
        heaps_checked = true;
    }

    // Every link of the path, as H5Oexists_by_name wants the ones before the last to be there.
    bool has(const std::string& name) const {
        prepare_library();
        for (size_t at = name.find_first_not_of('/'); at < name.size();) {
            const size_t end = std::min(name.find('/', at), name.size());
            const std::string part = name.substr(0, end);
            if (H5Lexists(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
            if (H5Oexists_by_name(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
            at = end + 1;
        }
        return true;
    }

    Handle open_dataset(const std::string& name) const {
        if (!has(name)) fail("[hdf5] {}: there is no dataset {}; hint: is it the right file?", path, name);
        Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
        if (!dataset) bad(name, "cannot be opened");
        return dataset;
    }

    Handle open_object(const std::string& name) const {
        if (!has(name)) fail("[hdf5] {}: there is no {}; hint: is it the right file?", path, name);
        Handle object(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
        if (!object) bad(name, "cannot be opened");
        return object;
    }

    Hdf5Info info_of(const std::string& name, hid_t dataset) const {
        const Handle type(H5Dget_type(dataset), H5Tclose), space(H5Dget_space(dataset), H5Sclose);
        const int rank = H5Sget_simple_extent_ndims(space);
        if (!type || !space || rank < 0) bad(name, "cannot be read");
        Hdf5Info info;
        std::vector<hsize_t> shape(static_cast<size_t>(rank));
        H5Sget_simple_extent_dims(space, shape.data(), nullptr);
        info.shape.assign(shape.begin(), shape.end());
        info.is_strings = H5Tget_class(type) == H5T_STRING;
        info.dtype = dtype_of_type(type);
        return info;
    }
};

Hdf5Reader::Hdf5Reader(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
Hdf5Reader::~Hdf5Reader() = default;
Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;
const std::string& Hdf5Reader::path() const { return impl_->path; }
bool Hdf5Reader::has(const std::string& name) const { return impl_->has(name); }

std::vector<std::string> Hdf5Reader::names(const std::string& group) const {
    const Handle object = impl_->open_object(group);
    std::vector<std::string> found;
    const auto take = [](hid_t, const char* name, const H5L_info_t*, void* to) -> herr_t {
        static_cast<std::vector<std::string>*>(to)->emplace_back(name);
        return 0;
    };
    if (H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &found) < 0)
        impl_->bad(group, "cannot be listed");
    return found;
}

Hdf5Info Hdf5Reader::info(const std::string& name) const { return impl_->info_of(name, impl_->open_dataset(name)); }

int64_t Hdf5Reader::n_values(const std::string& name) const {
    const Hdf5Info now = info(name);
    const int64_t most = impl_->file_bytes * kMostExpansion;
    int64_t n = 1;
    for (const int64_t d : now.shape)
        if (d < 0 || __builtin_mul_overflow(n, d, &n) || n > most)
            fail("[hdf5] {}: dataset {}: {} does not fit into a file of {} bytes; hint: the file is damaged",
                 impl_->path, name, now.text(), impl_->file_bytes);
    return n;
}

int64_t Hdf5Reader::n_rows(const std::string& name) const {
    n_values(name);
    const Hdf5Info now = info(name);
    if (now.shape.empty())
        fail("[hdf5] {}: dataset {}: expected rows, got {}; hint: is it the right file?", impl_->path, name, now.text());
    return now.shape[0];
}

void Hdf5Reader::read(const std::string& name, DType dtype, int64_t first, int64_t n_rows, void* out) const {
    const Handle dataset = impl_->open_dataset(name);
    const Hdf5Info now = impl_->info_of(name, dataset);
    if (now.dtype != dtype || now.shape.empty() || now.shape.size() > 2)
        fail("[hdf5] {}: dataset {}: expected {} of one or two dimensions, got {}; hint: is it the right file?",
             impl_->path, name, name_of(dtype), now.text());
    if (first < 0 || n_rows < 0 || n_rows > now.shape[0] - first)
        fail("[hdf5] {}: dataset {}: expected rows {} to {}, got {}; hint: is it the right file?", impl_->path, name,
             first, first + n_rows, now.text());
    if (n_rows == 0) return;
    const auto width = static_cast<hsize_t>(now.shape.size() > 1 ? now.shape[1] : 1);
    const std::array<hsize_t, 2> at{static_cast<hsize_t>(first), 0}, count{static_cast<hsize_t>(n_rows), width};
    const int rank = static_cast<int>(now.shape.size());
    const Handle space(H5Dget_space(dataset), H5Sclose),
        memory(H5Screate_simple(rank, count.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, at.data(), nullptr, count.data(), nullptr);
    if (H5Dread(dataset, memory_type(dtype), memory, space, H5P_DEFAULT, out) < 0) impl_->bad(name, "cannot be read");
}

std::vector<std::string> Hdf5Reader::read_strings(const std::string& name, int64_t first, int64_t n_rows) const {
    const Handle dataset = impl_->open_dataset(name);
    const Hdf5Info now = impl_->info_of(name, dataset);
    if (!now.is_strings || now.shape.size() != 1 || first < 0 || n_rows < 0 || n_rows > now.shape[0] - first)
        fail("[hdf5] {}: dataset {}: expected strings, rows {} to {}, got {}; hint: is it the right file?", impl_->path,
             name, first, first + n_rows, now.text());
    std::vector<std::string> values;
    if (n_rows == 0) return values;
    const auto at = static_cast<hsize_t>(first), count = static_cast<hsize_t>(n_rows);
    const Handle stored(H5Dget_type(dataset), H5Tclose), space(H5Dget_space(dataset), H5Sclose),
        memory(H5Screate_simple(1, &count, nullptr), H5Sclose);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, nullptr, &count, nullptr);
    if (H5Tis_variable_str(stored) > 0) {
        impl_->check_heaps();
        std::vector<char*> texts(static_cast<size_t>(n_rows));
        const bool is_read = H5Dread(dataset, stored, memory, space, H5P_DEFAULT, texts.data()) >= 0;
        const std::string why = is_read ? "" : impl_->reason_for(name, "cannot be read");
        if (is_read)
            for (const char* text : texts) values.emplace_back(text ? text : "");
        // Also of a failed read the strings before the failure.
        H5Dvlen_reclaim(stored, memory, H5P_DEFAULT, texts.data());
        if (!is_read) throw Error(why);
        return values;
    }
    const size_t width = H5Tget_size(stored);
    if (n_values(name) > impl_->file_bytes * kMostExpansion / static_cast<int64_t>(std::max<size_t>(width, 1)))
        impl_->bad(name, "is longer than the file");
    std::string block(static_cast<size_t>(n_rows) * width, '\0');
    if (H5Dread(dataset, stored, memory, space, H5P_DEFAULT, block.data()) < 0) impl_->bad(name, "cannot be read");
    for (size_t i = 0; i < block.size(); i += width) {
        const std::string_view text = std::string_view(block).substr(i, width);
        values.emplace_back(text.substr(0, text.find('\0')));
    }
    return values;
}

bool Hdf5Reader::has_attribute(const std::string& object, const std::string& name) const {
    return H5Aexists(impl_->open_object(object), name.c_str()) > 0;
}

Hdf5Value Hdf5Reader::attribute_value(const std::string& object, const std::string& name) const {
    const Handle holder = impl_->open_object(object);
    if (H5Aexists(holder, name.c_str()) <= 0)
        fail("[hdf5] {}: {} has no attribute {}; hint: is it the right file?", impl_->path, object, name);
    const Handle attribute(H5Aopen(holder, name.c_str(), H5P_DEFAULT), H5Aclose);
    const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
    if (!attribute || !type || H5Sget_simple_extent_npoints(space) != 1) wrong_attribute(object, name);
    const auto get = [&](hid_t memory, void* to) {
        if (H5Aread(attribute, memory, to) < 0) impl_->bad(object, "attribute " + name);
    };
    switch (H5Tget_class(type)) {
        case H5T_INTEGER: {
            int64_t value = 0;
            get(H5T_NATIVE_INT64, &value);
            return value;
        }
        case H5T_FLOAT: {
            double value = 0;
            get(H5T_NATIVE_DOUBLE, &value);
            return value;
        }
        case H5T_STRING: break;
        default: wrong_attribute(object, name);
    }
    if (H5Tis_variable_str(type) > 0) {
        impl_->check_heaps();
        char* bytes = nullptr;
        get(type, &bytes);
        const std::string text = bytes ? bytes : "";
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, &bytes);
        return text;
    }
    std::string text(H5Tget_size(type), '\0');
    get(type, text.data());
    return text.substr(0, text.find('\0'));
}

void Hdf5Reader::wrong_attribute(const std::string& object, const std::string& name) const {
    fail("[hdf5] {}: attribute {} of {} has another type than expected; hint: is it the right file?", impl_->path, name,
         object);
}

bool looks_like_hdf5(const std::string& path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) return false;
    std::ifstream in(path, std::ios::binary);
    std::array<char, 8> head{};
    return in.read(head.data(), head.size()) && std::memcmp(head.data(), "\x89HDF\r\n\x1a\n", 8) == 0;
}

}  // namespace adder
