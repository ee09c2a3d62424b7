// The shared memory that a block of threads may have, by which kernels are chosen.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>

namespace adder::cuda {

// Bytes, of the GPU in use; where there is none those of the H100, so that planning needs no GPU.
size_t shared_bytes_of_gpu();

// While it lives kernels are chosen as on a GPU that has no more than so many bytes. For tests.
class LowerSharedBytes {
  public:
    explicit LowerSharedBytes(size_t bytes) { cap() = bytes; }
    ~LowerSharedBytes() { cap() = kNone; }
    LowerSharedBytes(const LowerSharedBytes&) = delete;
    LowerSharedBytes& operator=(const LowerSharedBytes&) = delete;

  private:
    friend size_t most_shared_bytes();
    static constexpr size_t kNone = static_cast<size_t>(-1);
    static std::atomic<size_t>& cap() {
        static std::atomic<size_t> bytes{kNone};
        return bytes;
    }
};

inline size_t most_shared_bytes() { return std::min(shared_bytes_of_gpu(), LowerSharedBytes::cap().load()); }

// Throws Error that names the GPU, the need and what there is, where a block cannot have so many bytes.
void expect_shared_bytes(size_t bytes);

}  // namespace adder::cuda
