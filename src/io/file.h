// Files: read by mapping, written under a temporary name and renamed, so that a killed process leaves either
// the old file, or the new one, or nothing that looks finished.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace adder {

// Throws the Error of a system call that failed with this errno: "[what] path: No space left on device; hint: ...".
[[noreturn]] void fail_system(const char* what, const std::string& path, int reason);

// A file mapped for reading. Move-only; the mapping lives as long as the object.
// Errors: missing, unreadable, a folder or a device. An empty file is legal: no bytes.
class MappedFile {
  public:
    explicit MappedFile(const std::string& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
    void* data_ = nullptr;
    size_t size_ = 0;
};

// Writes `path` through a temporary file in the same folder. Until commit() returns, `path` is untouched;
// without commit() the destructor removes the temporary. A link stays, and what it leads to is written.
// Errors (folder missing or unwritable, disk full, `path` is a folder or a device, or ends in '/') name the
// path, the reason and a remedy.
class AtomicFile {
  public:
    explicit AtomicFile(const std::string& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, int64_t n_bytes);
    void write(std::string_view text) { write(text.data(), static_cast<int64_t>(text.size())); }
    // Flushes, fsyncs, renames onto `path` and fsyncs the folder. Once, and last.
    void commit();
    const std::string& path() const { return path_; }
    // The unfinished file, for a library that opens its output by name: it writes there instead of write() and closes it
    // before commit().
    const std::string& temporary() const { return temporary_; }

  private:
    void flush();
    void put(const char* data, size_t n);
    void discard();

    std::string path_, target_, temporary_;  // target_: what `path` is behind its links
    int fd_ = -1;
    std::vector<char> buffer_;
};

// Gives two paths each other's name in one step: 0, or -1 and errno.
using ExchangeNames = int (*)(const char* a, const char* b);
int exchange_names(const char* a, const char* b);

// A folder that appears under its name complete or not at all: fill temporary(), then commit(). Without
// commit() the destructor removes what was written. Links and errors as AtomicFile, but `path` may end in
// '/'; a `path` that exists, if only as a link, is an error unless `replace` is set or it is an empty folder.
// With `replace` the new folder and the old one change names in one step; on a file system that cannot do that
// (NFS, some FUSE) the old one is renamed first. A kill between the two renames leaves nothing under `path`:
// the next AtomicFolder of it, or remove_leftovers, takes the old one back.
class AtomicFolder {
  public:
    explicit AtomicFolder(const std::string& path, bool replace = false, ExchangeNames exchange = exchange_names);
    ~AtomicFolder();
    AtomicFolder(const AtomicFolder&) = delete;
    AtomicFolder& operator=(const AtomicFolder&) = delete;

    const std::string& temporary() const { return temporary_; }
    // Fsyncs every file and folder below, renames onto `path` and fsyncs the folder that holds it.
    void commit();

  private:
    void replace();

    std::string path_, target_, temporary_;
    bool replace_;
    ExchangeNames exchange_;
};

// Removes what killed processes left of unfinished files and folders, and gives a folder that was about to be
// replaced its name back. Only for a folder that no other process writes to at this moment, as a run's own.
void remove_leftovers(const std::string& folder);

// The same where others may be writing: removes, in the folder where `path` would be written, what processes
// of this machine left that are gone. What stands there of other machines stays, for nobody here can tell.
void remove_abandoned(const std::string& path);
// A name for an unfinished file that remove_abandoned() knows, another one at every call.
std::string temporary_name();

// Holds a folder for this process while it lives. Throws Error when another process holds it.
class FolderLock {
  public:
    explicit FolderLock(const std::string& folder);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int fd_ = -1;
};

// False for what cannot be read.
bool is_empty_folder(const std::string& path);

// By which two names of one file or folder are told to be that; "-" is itself.
std::string canonical_file(const std::string& path);

// The whole of a small text file.
std::string read_file(const std::string& path);
// Replaces `path` by this text, atomically.
void write_file(const std::string& path, std::string_view text);

}  // namespace adder
