// Packed batches: what goes in comes out.
#include "core/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/batch/unpack_batch.h"
#include "tests/model/toy.h"

namespace adder {
namespace {

using testing::HasSubstr;

// Steps [t0, t0 + T) of the packed batch equal those of the batch, targets where they count.
void expect_same(const Batch& batch, const PackedBatch& packed, int64_t t0, int64_t T, Gpu* gpu = nullptr) {
    const Device device = gpu ? Device::cuda : Device::cpu;
    Arena scratch(device, "scratch");
    Ctx ctx = Compute{.device = device, .gpu = gpu}.context(scratch);
    const Tensor memory(DType::u8, {TokenTile::bytes(batch.B, T)}, device);
    unpack_batch(ctx, packed, t0, TokenTile::at(memory.ref().data, device, batch.B, T));
    const HostCopy host(memory);
    const TokenTile tile = TokenTile::at(host.ref().data, Device::cpu, batch.B, T);
    for (int64_t b = 0; b < batch.B; ++b)
        for (int64_t t = 0; t < T; ++t) {
            const int64_t from = b * batch.L + t0 + t, to = b * T + t;
            const float weight = batch.weights.ref().ptr<float>("w")[from];
            EXPECT_EQ(tile.ids.ptr<uint16_t>("ids")[to], batch.ids.ref().ptr<uint16_t>("ids")[from]);
            EXPECT_EQ(tile.start.ptr<uint8_t>("start")[to], batch.start.ref().ptr<uint8_t>("start")[from]);
            EXPECT_EQ(tile.weights.ptr<float>("w")[to], weight);
            if (weight == 0) continue;
            EXPECT_EQ(tile.targets.ptr<uint16_t>("t")[to], batch.targets.ref().ptr<uint16_t>("t")[from]);
        }
}

std::string error_of(const Batch& batch, int64_t vocab) {
    try {
        const PackedCopy packed(batch, vocab, Device::cpu);
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}

void expect_round_trips(Gpu* gpu) {
    for (const int64_t vocab : {16, 256, 257, 60000})
        for (const int64_t L : {1, 2, 33}) {
            Batch batch = next_token_batch(3, L, {0, 5, 6});
            if (vocab > 256)
                for (int64_t i = 0; i < 3 * L; ++i) {
                    batch.ids.ref().ptr<uint16_t>("ids")[i] += 245;
                    batch.targets.ref().ptr<uint16_t>("targets")[i] += 245;
                }
            const PackedCopy packed(batch, vocab, gpu ? Device::cuda : Device::cpu);
            expect_same(batch, packed.at, 0, L, gpu);
            expect_same(batch, packed.at, L / 2, L - L / 2, gpu);
            expect_same(batch, packed.at, L - 1, 1, gpu);
        }
}

TEST(PackedBatch, unpacks_to_what_was_packed) { expect_round_trips(nullptr); }

TEST(CudaPackedBatch, unpacks_to_what_was_packed) {
    if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
    Gpu gpu;
    expect_round_trips(&gpu);
}

// As windows have it: the last token of a member is only a target.
TEST(PackedBatch, the_last_target_of_a_member_stands_before_the_next_member) {
    Batch batch = next_token_batch(1, 8, {0, 5});
    std::fill_n(batch.weights.ref().ptr<float>("w"), 8, 1.0f);
    auto* targets = batch.targets.ref().ptr<uint16_t>("t");
    targets[4] = batch.ids.ref().ptr<uint16_t>("ids")[5] == 7 ? 8 : 7;
    const PackedCopy packed(batch, 16, Device::cpu);
    expect_same(batch, packed.at, 0, 8);
}

TEST(PackedBatch, what_it_cannot_hold_is_an_error_that_names_the_place) {
    Batch batch = next_token_batch(2, 100, {0});
    batch.ids.ref().ptr<uint16_t>("ids")[103] = 16;
    EXPECT_THAT(error_of(batch, 16), HasSubstr("below V = 16, got 16 in row 1 at step 3"));
    batch = next_token_batch(2, 100, {0});
    batch.weights.ref().ptr<float>("w")[199] = 1;
    batch.targets.ref().ptr<uint16_t>("t")[199] = 300;
    EXPECT_THAT(error_of(batch, 16), HasSubstr("got 300 in row 1 at step 99"));
    batch = next_token_batch(2, 100, {0});
    auto* weights = batch.weights.ref().ptr<float>("w");
    for (int i = 0; i < 127; ++i) weights[i] = 1 + static_cast<float>(i);
    std::fill_n(weights + 127, 73, std::numeric_limits<float>::infinity());
    EXPECT_THAT(error_of(batch, 16), HasSubstr("more than 127 distinct numbers, the next is inf in row 1 at step 27"));
    std::fill_n(weights + 127, 73, 127.0f);
    const PackedCopy packed(batch, 16, Device::cpu);
    expect_same(batch, packed.at, 0, 100);
}

}  // namespace
}  // namespace adder
