// From the outputs of tiles to the embeddings of targets: one row a target, or one a position.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apps/target_tiles.h"
#include "core/tensor.h"
#include "core/threads.h"

namespace adder {

enum class EmbedPool { mean, last, max, none };
EmbedPool embed_pool(std::string_view name);

// Positions are added one after the other in f64, so that neither tiles nor threads change a bit. A NaN
// stays.
class TargetPools {
  public:
    // Rows of a piece's target: with EmbedPool::none its positions [piece.done, piece.done + piece.count) in
    // reading direction, else one row, when the target ends. A row has outputs x M numbers, output by output.
    using Give = std::function<void(const TargetPiece& piece, int64_t rows, const float* values)>;

    TargetPools(ThreadPool& threads, EmbedPool pool, int64_t outputs, int64_t M, Give give);

    int64_t width() const { return outputs_ * M_; }
    // Output `index` of a tile whose pieces these are: values (rows,n,M) f32, bf16 or f64, on the host. All
    // outputs of a tile in turn, all tiles in turn.
    void take(const std::vector<TargetPiece>& pieces, int64_t index, const TensorRef& values);

  private:
    void open(const std::vector<TargetPiece>& pieces);
    template <class T>
    void add(const std::vector<TargetPiece>& pieces, int64_t index, const TensorRef& values);
    template <class T>
    void copy(int64_t index, const TensorRef& values);
    void close(const std::vector<TargetPiece>& pieces);
    void give_positions(const std::vector<TargetPiece>& pieces, int64_t n);

    ThreadPool& threads_;
    EmbedPool pool_;
    int64_t outputs_, M_;
    Give give_;
    std::unordered_map<int64_t, int64_t> slot_of_;  // of targets that have begun and not ended
    std::vector<int64_t> free_slots_, slots_;       // slots_: of this tile's pieces
    std::vector<double> sums_;                      // (slots, outputs, M)
    std::vector<float> rows_;
};

}  // namespace adder
