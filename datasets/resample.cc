#include "datasets/resample.h"

#include <soxr.h>

#include <algorithm>

#include "core/ceil_div.h"
#include "core/error.h"

namespace adder {

int64_t resampled_length(int64_t n, int64_t from_hz, int64_t to_hz) {
    CHECK(n >= 0 && from_hz > 0 && to_hz > 0);
    const int64_t whole = n / from_hz, rest = n % from_hz;
    return whole * to_hz + ceil_div(rest * to_hz, from_hz);
}

struct Resampler::Impl {
    struct Delete {
        void operator()(soxr* r) const { soxr_delete(r); }
    };
    int64_t from_hz, to_hz;
    std::unique_ptr<soxr, Delete> soxr_ = {};
    int64_t taken = 0, given = 0;  // samples
    std::vector<float> block = {};

    // `most`: samples that may still be appended.
    void process(std::span<const float> in, int64_t most, std::vector<float>& out) {
        for (bool more = true; more;) {
            size_t used = 0, ready = 0;
            const soxr_error_t error =
                soxr_process(soxr_.get(), in.data(), in.size(), &used, block.data(), block.size(), &ready);
            if (error) fail("[resample] {} Hz to {} Hz: {}", from_hz, to_hz, error);
            in = in.subspan(used);
            const auto n = std::min<int64_t>(static_cast<int64_t>(ready), most);
            out.insert(out.end(), block.begin(), block.begin() + n);
            most -= n;
            given += n;
            // A full block may leave output behind.
            more = !in.empty() || ready == block.size();
        }
    }
};

Resampler::Resampler(int64_t from_hz, int64_t to_hz) : impl_(new Impl{from_hz, to_hz}) {
    CHECK(from_hz > 0 && to_hz > 0);
    if (from_hz == to_hz) return;
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr_error_t error = nullptr;
    impl_->soxr_.reset(soxr_create(static_cast<double>(from_hz), static_cast<double>(to_hz), 1, &error, &io,
                                   &quality, &runtime));
    if (error) fail("[resample] {} Hz to {} Hz: {}", from_hz, to_hz, error);
    impl_->block.resize(1 << 14);
}

Resampler::~Resampler() = default;
Resampler::Resampler(Resampler&&) noexcept = default;

void Resampler::process(std::span<const float> in, std::vector<float>& out) {
    Impl& r = *impl_;
    r.taken += static_cast<int64_t>(in.size());
    if (r.soxr_)
        r.process(in, INT64_MAX, out);
    else
        out.insert(out.end(), in.begin(), in.end());
}

void Resampler::finish(std::vector<float>& out) {
    Impl& r = *impl_;
    if (!r.soxr_) return;
    const int64_t all = resampled_length(r.taken, r.from_hz, r.to_hz);
    // Output that has run ahead of the input's end cannot be: a filter is late, never early.
    CHECK(r.given <= all);
    const std::vector<float> silence(1 << 12);
    while (r.given < all) r.process(silence, all - r.given, out);
}

}  // namespace adder
