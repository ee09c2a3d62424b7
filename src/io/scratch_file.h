// A file without a name, for what does not fit into memory: it is gone when it is closed, however the process
// ends.
#pragma once
#include <cstdint>
#include <string>

namespace adder {

class ScratchFile {
  public:
    // In the folder of `path`, where the result will stand and thus has room. Errors name the folder and the
    // reason.
    explicit ScratchFile(const std::string& path);
    ~ScratchFile();
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    // Bytes at an offset; what was never written reads as zero.
    void write(int64_t offset, const void* data, int64_t n_bytes);
    void read(int64_t offset, void* data, int64_t n_bytes) const;

    // For a library that reads it itself.
    int descriptor() const { return fd_; }

  private:
    std::string folder_;
    int fd_ = -1;
};

}  // namespace adder
