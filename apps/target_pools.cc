#include "apps/target_pools.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "core/ceil_div.h"
#include "core/error.h"

namespace adder {

namespace {

// Columns of a task.
constexpr int64_t kColumns = 64;
// Positions of a task that copies.
constexpr int64_t kCopied = 256;

inline double number(double x) {
    return x;
}
inline double number(float x) {
    return static_cast<double>(x);
}
inline double number(bf16 x) {
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16));
}

template <class T>
void add_rows(const T* at, int64_t stride, int64_t count, int64_t columns, EmbedPool pool, double* sum) {
    std::array<double, kColumns> s;
    std::copy_n(sum, columns, s.begin());
    const auto pass = [&](auto take) {
        for (int64_t t = 0; t < count; ++t, at += stride)
            for (int64_t c = 0; c < columns; ++c)
                s[static_cast<size_t>(c)] = take(s[static_cast<size_t>(c)], number(at[c]));
    };
    if (pool == EmbedPool::mean)
        pass([](double a, double b) { return a + b; });
    else if (pool == EmbedPool::max)
        pass([](double a, double b) { return !(b <= a) ? (a != a ? a : b) : a; });
    std::copy_n(s.begin(), columns, sum);
}

}  // namespace

EmbedPool embed_pool(std::string_view name) {
    if (name == "mean") return EmbedPool::mean;
    if (name == "last") return EmbedPool::last;
    if (name == "max") return EmbedPool::max;
    CHECK(name == "none");
    return EmbedPool::none;
}

TargetPools::TargetPools(ThreadPool& threads, EmbedPool pool, int64_t outputs, int64_t M, Give give)
    : threads_(threads),
      pool_(pool),
      outputs_(outputs),
      M_(M),
      give_(std::move(give)),
      rows_(static_cast<size_t>(outputs * M)) {}

// A slot for each piece: the one it has, or a fresh one.
void TargetPools::open(const std::vector<TargetPiece>& pieces) {
    slots_.clear();
    const double empty = pool_ == EmbedPool::max ? -std::numeric_limits<double>::infinity() : 0;
    for (const TargetPiece& p : pieces) {
        const auto [at, fresh] = slot_of_.try_emplace(2 * p.target + p.reverse, 0);
        if (fresh) {
            if (free_slots_.empty()) {
                free_slots_.push_back(static_cast<int64_t>(sums_.size()) / width());
                sums_.resize(sums_.size() + static_cast<size_t>(width()));
            }
            at->second = free_slots_.back();
            free_slots_.pop_back();
            std::fill_n(sums_.begin() + at->second * width(), width(), empty);
        }
        slots_.push_back(at->second);
    }
}

template <class T>
void TargetPools::add(const std::vector<TargetPiece>& pieces, int64_t index, const TensorRef& values) {
    const auto* base = static_cast<const T*>(values.data);
    const int64_t n = values.size(1), parts = ceil_div(M_, kColumns);
    threads_.run(static_cast<int64_t>(pieces.size()) * parts, [&](int64_t task) {
        const TargetPiece& p = pieces[static_cast<size_t>(task / parts)];
        const int64_t c = task % parts * kColumns, columns = std::min(kColumns, M_ - c);
        double* sum = sums_.data() + slots_[static_cast<size_t>(task / parts)] * width() + index * M_ + c;
        const T* at = base + (p.row * n + p.begin) * M_ + c;
        if (pool_ != EmbedPool::last) return add_rows(at, M_, p.count, columns, pool_, sum);
        at += (p.count - 1) * M_;
        for (int64_t i = 0; i < columns; ++i) sum[i] = number(at[i]);
    });
}

template <class T>
void TargetPools::copy(int64_t index, const TensorRef& values) {
    const auto* base = static_cast<const T*>(values.data);
    const int64_t positions = values.size(0) * values.size(1);
    if (index == 0) rows_.resize(static_cast<size_t>(positions * width()));
    threads_.run(ceil_div(positions, kCopied), [&](int64_t task) {
        for (int64_t i = task * kCopied; i < std::min(positions, (task + 1) * kCopied); ++i)
            for (int64_t c = 0; c < M_; ++c)
                rows_[static_cast<size_t>(i * width() + index * M_ + c)] =
                    static_cast<float>(number(base[i * M_ + c]));
    });
}

void TargetPools::close(const std::vector<TargetPiece>& pieces) {
    for (size_t i = 0; i < pieces.size(); ++i) {
        const TargetPiece& p = pieces[i];
        if (!p.ends) continue;
        const double* sum = sums_.data() + slots_[i] * width();
        const double scale = pool_ == EmbedPool::mean ? static_cast<double>(p.done + p.count) : 1;
        for (int64_t c = 0; c < width(); ++c)
            rows_[static_cast<size_t>(c)] = static_cast<float>(sum[c] / scale);
        free_slots_.push_back(slots_[i]);
        slot_of_.erase(2 * p.target + p.reverse);
        give_(p, 1, rows_.data());
    }
}

void TargetPools::give_positions(const std::vector<TargetPiece>& pieces, int64_t n) {
    for (const TargetPiece& p : pieces) give_(p, p.count, rows_.data() + (p.row * n + p.begin) * width());
}

void TargetPools::take(const std::vector<TargetPiece>& pieces, int64_t index, const TensorRef& values) {
    CHECK(values.rank() == 3 && values.size(2) == M_ && index >= 0 && index < outputs_ &&
          values.contiguous());
    const bool positions = pool_ == EmbedPool::none;
    if (index == 0 && !positions) open(pieces);
    const auto with = [&]<class T>(T) { positions ? copy<T>(index, values) : add<T>(pieces, index, values); };
    switch (values.dtype) {
        case DType::f32:
            with(float{});
            break;
        case DType::f64:
            with(double{});
            break;
        case DType::bf16:
            with(bf16{});
            break;
        default:
            CHECK(false);
    }
    if (index + 1 < outputs_) return;
    positions ? give_positions(pieces, values.size(1)) : close(pieces);
}

}  // namespace adder
