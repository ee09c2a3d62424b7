// Changing the sample rate of a signal that comes in blocks: the only user of soxr.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace adder {

// ceil(n to / from), without overflow.
int64_t resampled_length(int64_t n, int64_t from_hz, int64_t to_hz);

// Band-limited, linear phase, 20 bits (the soxr library's high quality). n samples become resampled_length(n)
// samples, the first of which is at the time of the first one; beyond its ends the signal counts as silence.
class Resampler {
  public:
    // Errors: what soxr says.
    Resampler(int64_t from_hz, int64_t to_hz);
    ~Resampler();
    Resampler(Resampler&&) noexcept;

    // Appends what is ready of the output to `out`.
    void process(std::span<const float> in, std::vector<float>& out);
    // Appends the rest. Once, and last.
    void finish(std::vector<float>& out);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
