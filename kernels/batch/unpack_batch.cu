#include "kernels/batch/unpack_batch_cuda.h"
#include "kernels/common/launch.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;

template <class Token>
struct Unpack {
    const Token *tokens, *next;  // (B, L)
    const uint8_t* flags;  // (B, L)
    const float* palette;
    uint16_t *ids, *targets;
    float* weights;
    uint8_t* start;
    int64_t L, t0, T;
    unsigned blocks_per_row;
};

// One thread a token; kThreads neighbouring steps of one row a block, rows one after the other on grid.x. Moves
// B T (2 s + 1 + 9) bytes, s the size of a packed token. The last block of a row has idle threads. 1 M tokens: 12 MB, about
// 4 us.
template <class Token>
__global__ void __launch_bounds__(kThreads) unpack_kernel(Unpack<Token> a) {
    const unsigned b = blockIdx.x / a.blocks_per_row, part = blockIdx.x % a.blocks_per_row;
    const int64_t t = static_cast<int64_t>(part) * kThreads + threadIdx.x;
    if (t >= a.T) return;
    const int64_t from = b * a.L + a.t0 + t, to = b * a.T + t;
    const uint8_t flags = a.flags[from];
    a.ids[to] = a.tokens[from];
    a.targets[to] = a.next[from];
    a.weights[to] = a.palette[flags >> 1];
    a.start[to] = flags & 1;
}

template <class Token>
void start_unpack(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out) {
    const int64_t B = batch.B(), T = out.ids.size(1), per_row = ceil_div(T, kThreads);
    const Unpack<Token> args{batch.tokens.ptr<const Token>("tokens"),
                             batch.targets.ptr<const Token>("targets"),
                             batch.flags.ptr<const uint8_t>("flags"),
                             batch.palette.ptr<const float>("palette"),
                             out.ids.ptr<uint16_t>("ids"),
                             out.targets.ptr<uint16_t>("targets"),
                             out.weights.ptr<float>("weights"),
                             out.start.ptr<uint8_t>("start"),
                             batch.L(),
                             t0,
                             T,
                             blocks(per_row)};
    launch(ctx.gpu->stream(), blocks(B * per_row), kThreads, 0, unpack_kernel<Token>, args);
}

}  // namespace

void unpack_batch(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out) {
    if (batch.tokens.dtype == DType::u16) return start_unpack<uint16_t>(ctx, batch, t0, out);
    start_unpack<uint8_t>(ctx, batch, t0, out);
}

}  // namespace adder::cuda
