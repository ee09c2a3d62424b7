// One walk over the tile, bound by memory: a plain loop, on one thread.
#include "kernels/batch/unpack_batch_cpu.h"

namespace adder::cpu {

namespace {

template <class Token>
void unpack(const PackedBatch& batch, int64_t t0, const TokenTile& out) {
    const auto tokens = batch.tokens.as<const Token, 2>("tokens"), next = batch.targets.as<const Token, 2>("targets");
    const auto flags = batch.flags.as<const uint8_t, 2>("flags");
    const auto palette = batch.palette.as<const float, 1>("palette");
    const auto ids = out.ids.as<uint16_t, 2>("ids"), targets = out.targets.as<uint16_t, 2>("targets");
    const auto weights = out.weights.as<float, 2>("weights");
    const auto start = out.start.as<uint8_t, 2>("start");
    for (int64_t b = 0; b < ids.shape[0]; ++b)
        for (int64_t t = 0; t < ids.shape[1]; ++t) {
            const uint8_t f = flags(b, t0 + t);
            ids(b, t) = tokens(b, t0 + t);
            targets(b, t) = next(b, t0 + t);
            weights(b, t) = palette(f >> 1);
            start(b, t) = f & 1;
        }
}

}  // namespace

void unpack_batch(const PackedBatch& batch, int64_t t0, const TokenTile& out) {
    batch.tokens.dtype == DType::u16 ? unpack<uint16_t>(batch, t0, out) : unpack<uint8_t>(batch, t0, out);
}

}  // namespace adder::cpu
