#include "apps/embedding_file.h"

#include <algorithm>

#include "core/error.h"

namespace adder {

namespace {
// Numbers of a block on its way to or from the scratch file.
constexpr int64_t kBlock = 1 << 18;
constexpr int64_t kNumber = sizeof(float);
}  // namespace

EmbeddingFile::EmbeddingFile(const std::string& path, int64_t n, int64_t width, BothStrands strands,
                             bool in_order)
    : writer_(path),
      waiting_(in_order ? nullptr : std::make_unique<ScratchFile>(path)),
      n_(n),
      width_(width),
      columns_(strands == BothStrands::concat ? 2 * width : width),
      strands_(strands) {
    CHECK(!in_order || strands == BothStrands::no);
    writer_.dataset("embedding", {.dtype = DType::f32, .columns = columns_});
}

void EmbeddingFile::put(int64_t first, int64_t count, const float* values, int part, bool again) {
    CHECK(first >= 0 && first + count <= n_);
    if (!waiting_) {
        CHECK(first == next_);
        next_ += count;
        return writer_.append("embedding", values, count);
    }
    const int64_t most = std::max<int64_t>(1, kBlock / columns_);
    for (; count > 0; first += most, values += most * width_, count -= most) {
        const int64_t rows = std::min(count, most), offset = first * columns_ * kNumber,
                      bytes = rows * columns_ * kNumber;
        if (strands_ == BothStrands::no || (strands_ == BothStrands::mean && !again)) {
            waiting_->write(offset, values, bytes);
            continue;
        }
        block_.resize(static_cast<size_t>(rows * columns_));
        waiting_->read(offset, block_.data(), bytes);
        for (int64_t r = 0; r < rows; ++r) {
            float* row = block_.data() + r * columns_;
            const float* from = values + r * width_;
            if (strands_ == BothStrands::concat)
                std::copy_n(from, width_, row + part * width_);
            else
                for (int64_t c = 0; c < width_; ++c) row[c] = 0.5f * (row[c] + from[c]);
        }
        waiting_->write(offset, block_.data(), bytes);
    }
}

void EmbeddingFile::commit(const std::vector<std::string>& names, const std::vector<int64_t>& offsets,
                           const std::vector<std::pair<std::string, Hdf5Value>>& attributes) {
    if (waiting_) {
        const int64_t most = std::max<int64_t>(1, kBlock / columns_);
        block_.resize(static_cast<size_t>(most * columns_));
        for (int64_t i = 0; i < n_; i += most) {
            const int64_t rows = std::min(most, n_ - i);
            waiting_->read(i * columns_ * kNumber, block_.data(), rows * columns_ * kNumber);
            writer_.append("embedding", block_.data(), rows);
        }
    } else {
        CHECK(next_ == n_);
    }
    writer_.strings("name");
    writer_.append("name", names);
    if (!offsets.empty()) {
        writer_.dataset("offset", {.dtype = DType::i64});
        writer_.append("offset", offsets.data(), static_cast<int64_t>(offsets.size()));
    }
    for (const auto& [name, value] : attributes) writer_.attribute("/", name, value);
    writer_.commit();
}

}  // namespace adder
