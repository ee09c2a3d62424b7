#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "core/arena.h"
#include "core/rng.h"
#include "core/threads.h"

namespace adder {
namespace {

TEST(Arena, a_counting_pass_predicts_the_bound_pass) {
    auto use = [](Arena& a) {
        a.alloc(DType::f32, {3, 5});
        ArenaScope scope(a);
        a.alloc(DType::u8, {1});
        a.alloc(DType::f64, {7});
    };
    Arena plan;
    use(plan);
    Arena run;
    run.bind(plan.peak_bytes(), true);
    use(run);
    EXPECT_EQ(run.peak_bytes(), plan.peak_bytes());
    EXPECT_THROW(run.alloc(DType::u8, {plan.peak_bytes()}), std::logic_error);
}

TEST(Arena, a_write_past_scratch_is_caught) {
    Arena a;
    a.bind(1024, true);
    const int64_t mark = a.mark();
    auto* p = static_cast<uint8_t*>(a.alloc(DType::u8, {64}).data);
    p[64] = 0;
    EXPECT_THROW(a.release(mark), std::logic_error);
}

TEST(ThreadPool, every_task_runs_once_and_errors_arrive) {
    for (int n : {1, 2, 3, 7}) {
        ThreadPool pool(n);
        std::vector<std::atomic<int>> hits(1000);
        for (int repeat = 0; repeat < 20; ++repeat)
            pool.run(1000, [&](int64_t i) { hits[static_cast<size_t>(i)]++; });
        for (auto& h : hits) ASSERT_EQ(h.load(), 20);
        EXPECT_THROW(pool.run(10, [](int64_t i) { if (i == 3) fail("task {}", i); }), Error);
        pool.run(1, [](int64_t) {});
    }
}

TEST(Philox, known_answers_of_the_authors) {
    // kat_vectors of Random123: philox4x32-10 with counter and key all zero, and all ones.
    EXPECT_EQ(Philox(0, static_cast<Stream>(0)).block(0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(Philox(~0ull, static_cast<Stream>(~0u)).block(~0ull, ~0u),
              (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, normals_have_unit_variance_and_streams_differ) {
    const Philox a(1, Stream::init), b(1, Stream::test);
    double sum = 0, square = 0;
    for (uint64_t i = 0; i < 20000; ++i) {
        const double x = a.normal(i);
        sum += x;
        square += x * x;
    }
    EXPECT_NEAR(sum / 20000, 0, 0.03);
    EXPECT_NEAR(square / 20000, 1, 0.05);
    EXPECT_NE(a.u64(5), b.u64(5));
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < 1000; ++i) seen.insert(a.below(10, i));
    EXPECT_EQ(seen.size(), 10u);
}

}  // namespace
}  // namespace adder
