#include "io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr size_t kBufferBytes = 1 << 16;

const char* remedy_for(int reason) {
    switch (reason) {
        case ENOENT:
            return "check the path";
        case EACCES:
        case EPERM:
            return "check the permissions or choose another place";
        case EROFS:
            return "the file system is read-only, choose another place";
        case ENOSPC:
        case EDQUOT:
            return "free some space or choose another disk";
        case EFBIG:
            return "raise the limit on file sizes (ulimit -f) or choose another disk";
        case EEXIST:
        case ENOTEMPTY:
            return "remove it or choose another name";
        case EISDIR:
        case ENOTDIR:
            return "check which parts of the path are folders";
        case EMFILE:
        case ENFILE:
            return "raise the limit on open files (ulimit -n)";
        default:
            return "check the disk and the path";
    }
}

std::string folder_of(const std::string& path) {
    const fs::path parent = fs::path(path).parent_path();
    return parent.empty() ? "." : parent.string();
}

// How the name of everything unfinished begins, and of what stands aside while another folder takes its name, which
// follows.
constexpr std::string_view kTemporaryPrefix = ".adder-tmp-", kAside = ".adder-tmp-old-";
static_assert(kAside.starts_with(kTemporaryPrefix));

// Where a chain of links leads, also one that leads to nothing; without '/' at the end.
std::string followed(const std::string& path) {
    constexpr int kMostLinks = 40;  // as the kernel has it
    fs::path p = path;
    for (int i = 0; i < kMostLinks; ++i) {
        std::string text = p.string();
        while (text.size() > 1 && text.back() == '/') text.pop_back();
        p = text;
        std::error_code error;
        const fs::path to = fs::read_symlink(p, error);
        if (error) break;
        p = p.parent_path() / to;
    }
    return p.string();
}

// Behind it the number of a process is that of one process: the machine, and the container on it.
std::string prefix_of_machine() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::error_code ignored;
    const std::string numbering = fs::read_symlink("/proc/self/ns/pid", ignored).string();
    return fmt::format("{}{:x}-", kTemporaryPrefix, std::hash<std::string>()(host.data() + ("/" + numbering)));
}

// Tries names in the target's own folder, so that the rename stays inside one file system, until `make` does
// not find one taken (by what a killed process of this number left); not derived from the target's name,
// which may already have the longest legal length. Returns the name; negative results other than EEXIST are
// left to the caller.
template <class Make>
std::string make_temporary(const std::string& path, Make&& make) {
    for (;;) {
        const std::string temporary = (fs::path(folder_of(path)) / temporary_name()).string();
        if (make(temporary.c_str()) >= 0 || errno != EEXIST) return temporary;
    }
}

bool exists(const std::string& path) {
    std::error_code ignored;
    return fs::exists(fs::symlink_status(path, ignored));
}

void sync_path(const char* what, const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) fail_system(what, path, errno);
    const int rc = ::fsync(fd), reason = errno;
    ::close(fd);
    // Some network file systems cannot fsync a folder.
    if (rc != 0 && !(reason == EINVAL && (flags & O_DIRECTORY))) fail_system(what, path, reason);
}

// Where the folder `path` stands aside.
std::string aside_of(const std::string& path) {
    return (fs::path(folder_of(path)) / (std::string(kAside) + fs::path(path).filename().string())).string();
}

// Ends what a kill interrupted: the folder that stands aside of `path` gets its name back, or goes where its
// successor has it.
void settle_aside(const std::string& path) {
    const std::string aside = aside_of(path);
    if (!exists(aside)) return;
    std::error_code ignored;
    if (exists(path))
        fs::remove_all(aside, ignored);
    else
        fs::rename(aside, path, ignored);
}

}  // namespace

void fail_system(const char* what, const std::string& path, int reason) {
    fail("[{}] {}: {}; hint: {}", what, path, std::strerror(reason), remedy_for(reason));
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_system("read", path, errno);
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(fd);
        fail("[read] {}: {}; hint: name a file", path,
             S_ISDIR(info.st_mode) ? "is a folder" : "is not a regular file");
    }
    size_ = static_cast<size_t>(info.st_size);
    if (size_ > 0) {
        data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data_ == MAP_FAILED) {
            const int reason = errno;
            ::close(fd);
            fail_system("read", path, reason);
        }
    }
    ::close(fd);
}

MappedFile::~MappedFile() {
    if (data_) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(followed(path)) {
    struct stat info {};
    if (path.empty()) fail("[write] the name of the output file is empty; hint: give a file name");
    if (path.back() == '/') fail("[write] {}: is the name of a folder; hint: give the name of a file", path);
    if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
        fail("[write] {}: {}; hint: give the name of a file", path,
             S_ISDIR(info.st_mode) ? "is a folder" : "is a device or a pipe, which a rename would replace");
    }
    temporary_ = make_temporary(target_, [&](const char* name) {
        return fd_ = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    });
    if (fd_ < 0) {
        const int reason = errno;
        const std::string folder = folder_of(target_);
        if (reason == ENOENT) {
            fail("[write] {}: the folder {} does not exist; hint: create it first", path, folder);
        }
        fail("[write] {}: cannot create a file in {}: {}; hint: {}", path, folder, std::strerror(reason),
             remedy_for(reason));
    }
    buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
    discard();
}

void AtomicFile::discard() {
    if (fd_ < 0) return;
    ::close(std::exchange(fd_, -1));
    ::unlink(temporary_.c_str());
}

void AtomicFile::put(const char* data, size_t n) {
    while (n > 0) {
        const ssize_t done = ::write(fd_, data, n);
        if (done < 0) {
            if (errno == EINTR) continue;
            const int reason = errno;
            discard();
            fail_system("write", path_, reason);
        }
        data += done;
        n -= static_cast<size_t>(done);
    }
}

void AtomicFile::flush() {
    put(buffer_.data(), buffer_.size());
    buffer_.clear();
}

void AtomicFile::write(const void* data, int64_t n_bytes) {
    CHECK(fd_ >= 0 && n_bytes >= 0);
    const char* from = static_cast<const char*>(data);
    const size_t n = static_cast<size_t>(n_bytes);
    if (buffer_.size() + n > kBufferBytes) flush();
    if (n >= kBufferBytes) {
        put(from, n);
    } else {
        buffer_.insert(buffer_.end(), from, from + n);
    }
}

void AtomicFile::commit() {
    CHECK(fd_ >= 0);
    flush();
    int reason = 0;
    if (::fsync(fd_) != 0) reason = errno;
    // close() reports a quota that ran out on some network file systems.
    if (::close(std::exchange(fd_, -1)) != 0 && reason == 0) reason = errno;
    if (reason == 0 && std::rename(temporary_.c_str(), target_.c_str()) != 0) reason = errno;
    if (reason != 0) {
        ::unlink(temporary_.c_str());
        fail_system("write", path_, reason);
    }
    sync_path("write", folder_of(target_), O_DIRECTORY);
}

int exchange_names(const char* a, const char* b) {
    return ::renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

AtomicFolder::AtomicFolder(const std::string& path, bool replace, ExchangeNames exchange)
    : path_(fs::path(path).lexically_normal().string()), replace_(replace), exchange_(exchange) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
    if (path.empty()) fail("[write] the name of the output folder is empty; hint: give a folder name");
    target_ = followed(path_);
    settle_aside(target_);
    if (!replace_ && exists(path_) && !is_empty_folder(path_)) fail_system("write", path_, EEXIST);
    int rc = 0;
    temporary_ = make_temporary(target_, [&](const char* name) { return rc = ::mkdir(name, 0777); });
    if (rc != 0) {
        const int reason = errno;
        fail("[write] {}: cannot create a folder in {}: {}; hint: {}", path_, folder_of(target_),
             std::strerror(reason), remedy_for(reason));
    }
}

AtomicFolder::~AtomicFolder() {
    if (temporary_.empty()) return;
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);
}

void AtomicFolder::commit() {
    CHECK(!temporary_.empty());
    std::error_code reason;
    for (fs::recursive_directory_iterator it(temporary_, reason), end; !reason && it != end;
         it.increment(reason)) {
        sync_path("write", it->path().string(), it->is_directory() ? O_DIRECTORY : 0);
    }
    if (reason) fail_system("write", path_, reason.value());
    sync_path("write", temporary_, O_DIRECTORY);
    if (replace_ && exists(target_)) return replace();
    // It takes the place of an empty folder, and of nothing else.
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail_system("write", path_, errno);
    temporary_.clear();
    sync_path("write", folder_of(target_), O_DIRECTORY);
}

// What was under the name goes away under the temporary one.
void AtomicFolder::replace() {
    if (exchange_(temporary_.c_str(), target_.c_str()) != 0) {
        if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) fail_system("write", path_, errno);
        const std::string aside = aside_of(target_);
        if (std::rename(target_.c_str(), aside.c_str()) != 0) fail_system("write", path_, errno);
        sync_path("write", folder_of(target_), O_DIRECTORY);
        if (std::rename(temporary_.c_str(), target_.c_str()) != 0) {
            const int reason = errno;
            if (std::rename(aside.c_str(), target_.c_str()) == 0) fail_system("write", path_, reason);
            fail("[write] {}: {}; what was there is in {}; hint: rename it back", path_, std::strerror(reason), aside);
        }
        temporary_ = aside;
    }
    sync_path("write", folder_of(target_), O_DIRECTORY);
}

void remove_leftovers(const std::string& folder) {
    std::error_code reason;
    std::vector<fs::path> left;
    for (fs::directory_iterator it(folder, reason), end; !reason && it != end; it.increment(reason))
        if (it->path().filename().string().starts_with(kTemporaryPrefix)) left.push_back(it->path());
    for (const fs::path& path : left) {
        const std::string name = path.filename().string();
        std::error_code ignored;
        if (name.starts_with(kAside))
            settle_aside((path.parent_path() / name.substr(kAside.size())).string());
        else
            fs::remove_all(path, ignored);
    }
}

void remove_abandoned(const std::string& path) {
    const std::string prefix = prefix_of_machine();
    std::error_code reason;
    for (fs::directory_iterator it(folder_of(followed(path)), reason), end; !reason && it != end;
         it.increment(reason)) {
        const std::string name = it->path().filename().string();
        if (!name.starts_with(prefix)) continue;
        pid_t process = 0;
        const auto [number_end, error] =
            std::from_chars(name.data() + prefix.size(), name.data() + name.size(), process);
        const bool is_ours = error == std::errc() && process > 0 && number_end != name.data() + name.size();
        if (!is_ours || ::kill(process, 0) == 0 || errno != ESRCH) continue;
        std::error_code ignored;
        fs::remove_all(it->path(), ignored);
    }
}

std::string temporary_name() {
    static std::atomic<uint64_t> counter{0};
    return fmt::format("{}{}-{}", prefix_of_machine(), getpid(), counter++);
}

bool is_empty_folder(const std::string& path) {
    std::error_code error;
    const bool is_empty = fs::is_directory(path, error) && fs::is_empty(path, error);
    return is_empty && !error;
}

std::string canonical_file(const std::string& path) {
    std::error_code error;
    const fs::path canonical = fs::weakly_canonical(path, error);
    return path == "-" || error ? path : canonical.string();
}

std::string read_file(const std::string& path) {
    const MappedFile file(path);
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void write_file(const std::string& path, std::string_view text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
}

FolderLock::FolderLock(const std::string& folder) : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0) fail_system("lock", folder, errno);
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;  // some file systems have no locks
    ::close(fd_);
    fail("{}: another process is writing here; hint: wait for that run, or choose another --out", folder);
}

FolderLock::~FolderLock() { ::close(fd_); }

}  // namespace adder
