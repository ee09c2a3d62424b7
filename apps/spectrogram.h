// Spectrograms: short-time Fourier transforms as pictures, of signals of any length in constant memory.
#pragma once
#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace adder {

// Forward discrete Fourier transform in place; the length is a power of 2. Cooley and Tukey, Math. Comp. 19,
// 1965.
void fourier_transform(std::span<std::complex<double>> x);

// Hann windows of 512 samples, at most 128 apart, zeros before the first and after the last sample. Columns
// are time (of long signals the mean power of several windows), rows frequency, linear from 0 at the bottom
// to half the rate at the top. Colours are power in dB: from the loudest point to 80 dB below it, black
// below.
class Spectrogram {
  public:
    static constexpr int64_t kWindow = 512, kBins = kWindow / 2;

    // `n_samples` >= 1 in all; a picture of `width` columns, less where the signal has fewer windows, and
    // `height` rows, a divisor of kBins.
    Spectrogram(int64_t n_samples, int64_t width, int64_t height);
    // The next samples; what goes beyond n_samples does not count. Samples that are not finite count as 0.
    void add(std::span<const float> samples);

    int64_t width() const { return width_; }
    int64_t height() const { return height_; }
    // Mean power at a column and a row, rows from the bottom, as of what was added so far.
    double power(int64_t column, int64_t row) const;
    // A PNG file in `levels` colours (2 to 256). What has not been added counts as silence.
    std::vector<std::byte> png_file(int64_t levels = 256) const;

  private:
    void transform();

    int64_t n_samples_, width_, height_, hop_, n_windows_;
    int64_t n_added_ = 0, next_window_ = 0;
    std::vector<double> window_;
    std::vector<double> recent_;  // the last kWindow samples, a ring: sample i at i % kWindow
    std::vector<std::complex<double>> spectrum_;
    std::vector<double> power_;   // (width,height)
    std::vector<int64_t> count_;  // windows in each column
};

}  // namespace adder
