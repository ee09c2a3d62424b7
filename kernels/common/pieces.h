// How kernels work over a list of tensors: it is cut in pieces, each of one tensor, and a block takes one.
#pragma once
#include <cstdint>
#include <vector>

namespace adder {

// Elements [number kPieceElements, (number + 1) kPieceElements) of a tensor, up to its end.
struct Piece {
    int32_t tensor = 0, number = 0;
};
inline constexpr int64_t kPieceElements = 4096;

// In the order of the tensors, `numel(i)` elements each.
template <class Numel>
std::vector<Piece> pieces_of(int64_t n_tensors, Numel numel) {
    std::vector<Piece> all;
    for (int64_t i = 0; i < n_tensors; ++i)
        for (int64_t first = 0; first < numel(i); first += kPieceElements)
            all.push_back({static_cast<int32_t>(i), static_cast<int32_t>(first / kPieceElements)});
    return all;
}

}  // namespace adder
