#include "io/scratch_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "io/file.h"

namespace adder {

ScratchFile::ScratchFile(const std::string& path) {
    folder_ = std::filesystem::path(path).parent_path().string();
    if (folder_.empty()) folder_ = ".";
    std::string name = fmt::format("{}/{}-XXXXXX", folder_, temporary_name());
    fd_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd_ < 0)
        fail("{}: no temporary file can be made there: {}; hint: check the folder", folder_,
             std::strerror(errno));
    ::unlink(name.c_str());
}

ScratchFile::~ScratchFile() {
    ::close(fd_);
}

void ScratchFile::write(int64_t offset, const void* data, int64_t n_bytes) {
    const auto* at = static_cast<const char*>(data);
    while (n_bytes > 0) {
        const ssize_t n = ::pwrite(fd_, at, static_cast<size_t>(n_bytes), offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            fail("{}: a temporary file cannot be written: {}; hint: make room there", folder_,
                 std::strerror(errno));
        at += n;
        offset += n;
        n_bytes -= n;
    }
}

void ScratchFile::read(int64_t offset, void* data, int64_t n_bytes) const {
    auto* at = static_cast<char*>(data);
    while (n_bytes > 0) {
        const ssize_t n = ::pread(fd_, at, static_cast<size_t>(n_bytes), offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            fail("{}: a temporary file cannot be read: {}; hint: check the disk", folder_,
                 std::strerror(errno));
        if (n == 0) return void(std::memset(at, 0, static_cast<size_t>(n_bytes)));
        at += n;
        offset += n;
        n_bytes -= n;
    }
}

}  // namespace adder
