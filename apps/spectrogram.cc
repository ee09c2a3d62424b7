#include "apps/spectrogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "apps/png.h"
#include "core/error.h"

namespace adder {

namespace {

constexpr int64_t kHop = 128;
constexpr double kRangeDb = 80;

// Colours from black through violet and orange to pale yellow, of about equal steps in lightness: five of
// those of "magma" (N. Smith and S. van der Walt, CC0), linear between them.
std::vector<Rgb> colours(int64_t levels) {
    constexpr std::array<Rgb, 5> kAnchors = {
        {{0, 0, 4}, {81, 18, 124}, {183, 55, 121}, {252, 137, 97}, {252, 253, 191}}};
    std::vector<Rgb> palette;
    for (int64_t i = 0; i < levels; ++i) {
        const double at = static_cast<double>(i) / static_cast<double>(levels - 1) * (kAnchors.size() - 1);
        const size_t low = std::min(static_cast<size_t>(at), kAnchors.size() - 2);
        Rgb& colour = palette.emplace_back();
        for (size_t c = 0; c < 3; ++c)
            colour[c] = static_cast<uint8_t>(std::lround(
                std::lerp(kAnchors[low][c], kAnchors[low + 1][c], at - static_cast<double>(low))));
    }
    return palette;
}

}  // namespace

void fourier_transform(std::span<std::complex<double>> x) {
    const size_t n = x.size();
    CHECK(n > 0 && (n & (n - 1)) == 0);
    for (size_t i = 1, j = 0; i < n; ++i) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) std::swap(x[i], x[j]);
    }
    for (size_t half = 1; half < n; half *= 2) {
        const std::complex<double> root = std::polar(1.0, -std::numbers::pi / static_cast<double>(half));
        for (size_t begin = 0; begin < n; begin += 2 * half) {
            std::complex<double> factor = 1;
            for (size_t i = begin; i < begin + half; ++i, factor *= root) {
                const std::complex<double> even = x[i], odd = factor * x[i + half];
                x[i] = even + odd;
                x[i + half] = even - odd;
            }
        }
    }
}

Spectrogram::Spectrogram(int64_t n_samples, int64_t width, int64_t height)
    : n_samples_(n_samples), height_(height) {
    CHECK(n_samples >= 1 && width >= 1 && height >= 1 && kBins % height == 0);
    hop_ = std::clamp<int64_t>(n_samples / (2 * width), 1, kHop);
    n_windows_ = n_samples / hop_ + 1;
    width_ = std::min(width, n_windows_);
    for (int64_t i = 0; i < kWindow; ++i)
        window_.push_back(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) /
                                               static_cast<double>(kWindow)));
    recent_.assign(kWindow, 0.0);
    spectrum_.resize(kWindow);
    power_.assign(static_cast<size_t>(width_ * height_), 0.0);
    count_.assign(static_cast<size_t>(width_), 0);
}

// The window in the middle of which sample next_window_ * hop_ stands; it ends with the sample that was added
// last.
void Spectrogram::transform() {
    for (int64_t i = 0; i < kWindow; ++i) {
        const int64_t at = next_window_ * hop_ - kWindow / 2 + i;
        spectrum_[static_cast<size_t>(i)] =
            at < 0 ? 0.0 : window_[static_cast<size_t>(i)] * recent_[static_cast<size_t>(at % kWindow)];
    }
    fourier_transform(spectrum_);
    const int64_t column = next_window_ * width_ / n_windows_, bins = kBins / height_;
    for (int64_t bin = 0; bin < kBins; ++bin)
        power_[static_cast<size_t>(column * height_ + bin / bins)] +=
            std::norm(spectrum_[static_cast<size_t>(bin)]) / static_cast<double>(bins);
    ++count_[static_cast<size_t>(column)];
    ++next_window_;
}

void Spectrogram::add(std::span<const float> samples) {
    const auto put = [&](double sample) {
        recent_[static_cast<size_t>(n_added_ % kWindow)] = sample;
        ++n_added_;
        if (next_window_ < n_windows_ && n_added_ == next_window_ * hop_ + kWindow / 2) transform();
    };
    for (const float sample : samples)
        if (n_added_ < n_samples_) put(std::isfinite(sample) ? static_cast<double>(sample) : 0.0);
    while (n_added_ >= n_samples_ && next_window_ < n_windows_) put(0);
}

double Spectrogram::power(int64_t column, int64_t row) const {
    CHECK(column >= 0 && column < width_ && row >= 0 && row < height_);
    const int64_t n = count_[static_cast<size_t>(column)];
    return n == 0 ? 0 : power_[static_cast<size_t>(column * height_ + row)] / static_cast<double>(n);
}

std::vector<std::byte> Spectrogram::png_file(int64_t levels) const {
    double loudest = 0;
    for (int64_t x = 0; x < width_; ++x)
        for (int64_t y = 0; y < height_; ++y) loudest = std::max(loudest, power(x, y));
    std::vector<uint8_t> pixels;
    for (int64_t y = height_ - 1; y >= 0; --y)
        for (int64_t x = 0; x < width_; ++x) {
            const double db =
                loudest > 0 && power(x, y) > 0 ? 10 * std::log10(power(x, y) / loudest) : -kRangeDb;
            pixels.push_back(static_cast<uint8_t>(
                std::lround(std::max(0.0, 1 + db / kRangeDb) * static_cast<double>(levels - 1))));
        }
    return png(width_, height_, colours(levels), pixels);
}

}  // namespace adder
