// Files and pipes as something that can be read again.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"
#include "datasets/audio.h"

namespace adder {

namespace {

int open_or_fail(const std::string& path, const std::string& name) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("[audio] {}: {}; hint: check the path", name, std::strerror(errno));
    return fd;
}

// Closes what it holds, also when something throws.
class Descriptor {
  public:
    explicit Descriptor(int fd, bool owned = true) : fd_(fd), owned_(owned) {}
    ~Descriptor() {
        if (owned_) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
    bool owned_;
};

int temporary_file(const std::string& name) {
    const char* folder = ::getenv("TMPDIR");
    std::string path = std::string(folder && *folder ? folder : "/tmp") + "/adder-XXXXXX";
    const int fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0)
        fail("[audio] {}: no temporary file {}: {}; hint: TMPDIR names a folder with room for it", name, path,
             std::strerror(errno));
    ::unlink(path.c_str());
    return fd;
}

}  // namespace

AudioInput::AudioInput(const std::string& path, int64_t limit_bytes)
    : name_(path == "-" ? "standard input" : path), path_(path) {
    struct stat status {};
    if (path != "-") {
        if (::stat(path.c_str(), &status) != 0)
            fail("[audio] {}: {}; hint: check the path", name_, std::strerror(errno));
        if (S_ISDIR(status.st_mode)) fail("[audio] {}: is a folder; hint: name a file in it", name_);
    }
    if (path == "-" || !S_ISREG(status.st_mode)) {
        spool(limit_bytes);
    } else {
        bytes_ = status.st_size;
        const Descriptor readable(open_or_fail(path, name_));
    }
    if (bytes_ == 0) fail("[audio] {}: is empty; hint: leave it out", name_);
}

AudioInput::~AudioInput() {
    if (spooled_ >= 0) ::close(spooled_);
}

AudioInput::AudioInput(AudioInput&& other) noexcept
    : name_(std::move(other.name_)),
      path_(std::move(other.path_)),
      spooled_(std::exchange(other.spooled_, -1)),
      bytes_(other.bytes_) {}

// libsndfile needs to go back in a file, which a pipe cannot.
void AudioInput::spool(int64_t limit_bytes) {
    const Descriptor from(path_ == "-" ? STDIN_FILENO : open_or_fail(path_, name_), path_ != "-");
    spooled_ = temporary_file(name_);
    std::vector<char> block(1 << 18);
    for (;;) {
        const ssize_t n = ::read(from.get(), block.data(), block.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("[audio] {}: {}", name_, std::strerror(errno));
        if (n == 0) return;
        if (bytes_ + n > limit_bytes)
            fail("[audio] {}: more than {} bytes; hint: --spool BYTES allows more, a file has no limit",
                 name_, limit_bytes);
        for (ssize_t done = 0; done < n;) {
            const ssize_t written = ::write(spooled_, block.data() + done, static_cast<size_t>(n - done));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0)
                fail("[audio] {}: it cannot be kept: {}; hint: TMPDIR names a folder with room for it", name_,
                     std::strerror(errno));
            done += written;
        }
        bytes_ += n;
    }
}

int AudioInput::open() const {
    if (spooled_ < 0) return open_or_fail(path_, name_);
    // Readers share the offset: one at a time.
    const int fd = ::fcntl(spooled_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || ::lseek(fd, 0, SEEK_SET) != 0) fail("[audio] {}: {}", name_, std::strerror(errno));
    return fd;
}

std::string AudioInput::peek(int64_t offset, int64_t count) const {
    const Descriptor from(spooled_ >= 0 ? spooled_ : open_or_fail(path_, name_), spooled_ < 0);
    std::string bytes(static_cast<size_t>(count), '\0');
    size_t got = 0;
    while (got < bytes.size()) {
        const ssize_t n =
            ::pread(from.get(), bytes.data() + got, bytes.size() - got, offset + static_cast<int64_t>(got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("[audio] {}: {}", name_, std::strerror(errno));
        if (n == 0) break;
        got += static_cast<size_t>(n);
    }
    bytes.resize(got);
    return bytes;
}

}  // namespace adder
