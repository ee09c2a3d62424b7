// Counts every heap allocation of the process, whoever makes it: between two steps there must be none.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include <malloc.h>

#include "apps/embedding.h"
#include "pipelines/symbol_buffer.h"
#include "tests/io/scratch.h"
#include "tests/model/toy.h"
#include "train/trainer.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ADDER_COUNTS_ALLOCATIONS 1
#else
#define ADDER_COUNTS_ALLOCATIONS 0
#endif

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> count{0};        // of allocations
std::atomic<int64_t> live{0}, peak{0};  // bytes allocated since counting began
}  // namespace

#if ADDER_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

static void* note(void* p) {
    if (!counting.load(std::memory_order_relaxed)) return p;
    count.fetch_add(1, std::memory_order_relaxed);
    const int64_t now = live.fetch_add(static_cast<int64_t>(malloc_usable_size(p))) + static_cast<int64_t>(malloc_usable_size(p));
    for (int64_t before = peak.load(); now > before && !peak.compare_exchange_weak(before, now);) {
    }
    return p;
}
void* malloc(size_t n) { return note(__libc_malloc(n)); }
void* calloc(size_t n, size_t size) { return note(__libc_calloc(n, size)); }
void* aligned_alloc(size_t align, size_t n) { return note(__libc_memalign(align, n)); }
void* realloc(void* p, size_t n) {
    if (p && counting) live -= static_cast<int64_t>(malloc_usable_size(p));
    return note(__libc_realloc(p, n));
}
void free(void* p) {
    if (p && counting) live -= static_cast<int64_t>(malloc_usable_size(p));
    __libc_free(p);
}
}
#endif

namespace adder {
namespace {

TEST(Allocation, none_between_the_second_and_the_third_step) {
    if (!ADDER_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers bring an allocator of their own";
    for (const std::string& mixer : model_names()) {
        ToyModel toy(mixer, DType::f32, 32);
        ThreadPool pool(2);
        const MemoryPlan plan = plan_training(toy.model, {}, {2, 600, toy.tile(256), 1});
        Trainer trainer(toy.model, toy.params, {}, {.pool = &pool}, plan);
        const Batch data = toy_batch(2, 600, {0, 99}, 1, toy.stride());
        const FillBatch fill = [&](int64_t, int64_t, Batch& batch) {
            copy(data.ids, batch.ids);
            copy(data.targets, batch.targets);
            copy(data.weights, batch.weights);
        };
        trainer.step(0, 1, 1e-3, fill);
        trainer.step(1, 1, 1e-3, fill);
        count = 0;
        counting = true;
        trainer.step(2, 1, 1e-3, fill);
        counting = false;
        EXPECT_EQ(count.load(), 0) << mixer;
        counting = true;
        void* volatile p = std::malloc(1);
        std::free(p);
        counting = false;
        EXPECT_EQ(count.load(), 1) << "the hook does not count";
    }
}

int64_t peak_of_one_step(const std::string& mixer, const TileOptions& tiles) {
    ToyModel toy(mixer, DType::f32, 16);
    ThreadPool pool(2);
    live = peak = 0;
    counting = true;
    {
        Trainer trainer(toy.model, toy.params, {}, {.pool = &pool}, plan_training(toy.model, {}, tiles));
        trainer.step(0, 1, 1e-3, [](int64_t, int64_t, Batch& batch) {
            auto* weights = batch.weights.ref().ptr<float>("weights");
            for (int64_t i = 0; i < batch.B * batch.L; ++i) weights[i] = 1;
        });
    }
    counting = false;
    return peak;
}

TEST(Allocation, peak_memory_at_a_fixed_tile_grows_by_border_states_and_tokens_alone) {
    if (!ADDER_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers bring an allocator of their own";
    for (const std::string& mixer : model_names()) {
        ToyModel toy(mixer, DType::f32, 16);
        const int64_t T = toy.tile(256), short_length = 8 * T, long_length = 128 * T;
        const int64_t small = peak_of_one_step(mixer, {1, short_length, T, 1});
        const int64_t large = peak_of_one_step(mixer, {1, long_length, T, 1});
        const StateSpec spec = toy.model.backbone().state_spec(1);
        const int64_t state = state_bytes(spec, DType::f32) + 256 * std::ssize(spec);
        // A border also costs its handles and a loss sum; a token its id, target, weight and flag.
        const int64_t borders = (long_length - short_length) / T;
        const int64_t allowed = borders * state + 9 * (long_length - short_length);
        EXPECT_LE(large - small, allowed) << mixer;
        EXPECT_GT(peak_of_one_step(mixer, {1, long_length, long_length, 1}), 4 * large) << mixer;
    }
}

// Of embedding one record on both strands, its symbols not counted.
int64_t peak_of_embedding(const std::string& mixer, EmbedPool pool, BothStrands strands, int64_t length) {
    ToyModel toy(mixer, DType::f32, 16);
    SymbolTable table;
    table.id.fill(7);
    const SymbolTokenizer tokenizer({.vocabulary = 12, .pad = 4, .two_strands = true, .token = "base"}, table);
    std::vector<TokenRecord> records(1);
    records[0].symbols.resize(static_cast<size_t>(length));
    const Scratch scratch;
    ThreadPool threads(2);
    live = peak = 0;
    counting = true;
    {
        const std::vector<Segment> segments{{0, 0, length}};
        const EmbedTargets targets{records, segments, {}, true};
        const EmbedSettings settings{pool, {{1}, true}, strands, 1024, false};
        EmbeddingFile file(scratch.path("e.h5"), pool == EmbedPool::none ? length : 1, 32, strands,
                           rows_in_order(targets, settings));
        embed(toy.model, {.pool = &threads}, tokenizer, targets, settings, file);
        file.commit({"x"}, {}, {});
    }
    counting = false;
    return peak;
}

TEST(Allocation, a_sequence_of_known_length_takes_a_byte_a_base) {
    if (!ADDER_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers bring an allocator of their own";
    constexpr int64_t kLength = 70'000'001;  // more than a block of those of unknown length
    live = peak = 0;
    counting = true;
    {
        SymbolBuffer buffer;
        buffer.expect(kLength);
        for (int64_t n = 0; n < kLength; n += 1000) {
            auto& room = buffer.room();
            room.resize(room.size() + static_cast<size_t>(std::min<int64_t>(1000, kLength - n)));
        }
        EXPECT_EQ(std::ssize(buffer.take()), kLength);
    }
    counting = false;
    EXPECT_LT(peak, kLength + (1 << 16));
}

TEST(Allocation, peak_memory_of_embedding_does_not_grow_with_the_length) {
    if (!ADDER_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers bring an allocator of their own";
    for (const std::string& mixer : mixer_names())
        for (const auto& [pool, strands] : {std::pair{EmbedPool::mean, BothStrands::no}, {EmbedPool::none, BothStrands::mean}}) {
            const int64_t small = peak_of_embedding(mixer, pool, strands, 1 << 16);
            const int64_t large = peak_of_embedding(mixer, pool, strands, 1 << 20);
            EXPECT_GT(small, 1024 * 16 * 4) << "the hook does not count";
            EXPECT_LE(large - small, 1 << 16) << mixer;  // 2^20 rows take 128 MiB
        }
}

}  // namespace
}  // namespace adder
