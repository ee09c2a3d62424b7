// Work over a list of tensors as if they were one: it is cut in blocks of the concatenated elements.
#pragma once
#include <algorithm>
#include <cstdint>

namespace adder {

// Calls f(i, from, to) for every tensor i with elements in [begin, end) of the concatenation of `n_tensors`
// tensors of numel(i) elements; [from, to) counts from the tensor's first element.
template <class Numel, class F>
void for_pieces(int64_t n_tensors, int64_t begin, int64_t end, Numel numel, F f) {
    int64_t first = 0;  // of tensor i, in the concatenation
    for (int64_t i = 0; i < n_tensors && first < end; ++i) {
        const int64_t n = numel(i), from = std::max<int64_t>(begin - first, 0), to = std::min(end - first, n);
        if (from < to) f(i, from, to);
        first += n;
    }
}

}  // namespace adder
