// The CUDA twin of sample_ref.h.
#pragma once
#include "kernels/sample/sample.h"

namespace adder::cuda {

// Of a row's ranking: a power of two, a warp at least.
inline int sample_places(int64_t V) {
    int n = 32;
    while (n < V) n *= 2;
    return n;
}
inline constexpr int kMostSharedPlaces = 4096;

// 0 where a row's ranking fits into shared memory.
inline int64_t sample_scratch_bytes(int64_t B, int64_t V) {
    const int places = sample_places(V);
    return places <= kMostSharedPlaces ? 0 : B * places * static_cast<int64_t>(sizeof(uint64_t));
}
// Arguments checked.
void sample(Ctx& ctx, const SampleArgs& args, const SampleRows& rows, void* scratch);

}  // namespace adder::cuda
