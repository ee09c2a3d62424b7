// Files and pipes as something that can be read again.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "datasets/audio.h"
#include "io/scratch_file.h"

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

AudioInput::~AudioInput() = default;
AudioInput::AudioInput(AudioInput&&) noexcept = default;

// libsndfile needs to go back in a file, which a pipe cannot.
void AudioInput::spool(int64_t limit_bytes) {
    const Descriptor from(path_ == "-" ? STDIN_FILENO : open_or_fail(path_, name_), path_ != "-");
    const char* folder = ::getenv("TMPDIR");
    const auto keep = [&](auto step) {
        try {
            step();
        } catch (const Error& e) {
            fail("[audio] {}: it cannot be kept: {}, or name another folder in TMPDIR", name_, e.what());
        }
    };
    keep([&] {
        spooled_ = std::make_unique<ScratchFile>(std::string(folder && *folder ? folder : "/tmp") + "/");
    });
    std::vector<char> block(1 << 18);
    for (;;) {
        const ssize_t n = ::read(from.get(), block.data(), block.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("[audio] {}: {}", name_, std::strerror(errno));
        if (n == 0) return;
        if (bytes_ + n > limit_bytes)
            fail("[audio] {}: more than {} bytes; hint: --spool BYTES allows more, a file has no limit",
                 name_, limit_bytes);
        keep([&] { spooled_->write(bytes_, block.data(), n); });
        bytes_ += n;
    }
}

int AudioInput::open() const {
    if (!spooled_) return open_or_fail(path_, name_);
    // Readers share the offset: one at a time.
    const int fd = ::fcntl(spooled_->descriptor(), F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || ::lseek(fd, 0, SEEK_SET) != 0) fail("[audio] {}: {}", name_, std::strerror(errno));
    return fd;
}

std::string AudioInput::peek(int64_t offset, int64_t count) const {
    const Descriptor from(spooled_ ? spooled_->descriptor() : open_or_fail(path_, name_), !spooled_);
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
