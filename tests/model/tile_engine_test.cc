// The promise that everything rests on: tiled = untiled = packed, values and gradients, for every backbone and mixer of the registries.
#include "model/tile_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/bytes_text.h"
#include "core/ceil_div.h"
#include "model/session.h"
#include "toy.h"

namespace adder {
namespace {

class TilesOfEveryModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, TilesOfEveryModel, testing::ValuesIn(model_names()));

TEST_P(TilesOfEveryModel, gradient_equals_central_differences) {
    for (Discretization d : {Discretization::euler, Discretization::zoh}) {
        ToyModel toy(GetParam(), DType::f64, 4, 2, d);
        const Batch batch = toy_batch(2, 11, {0, 4, 5}, 1, toy.stride());
        const ToyRun run = run_tiles(toy, batch, toy.tile(3), 1);
        expect_central_differences(toy, batch, run, 7);
    }
}

TEST_P(TilesOfEveryModel, tiled_equals_untiled_for_every_tile_length) {
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(GetParam(), dtype);
        const int64_t L = 23;
        for (const std::vector<int64_t>& starts :
             {std::vector<int64_t>{0}, {}, {0, 1, 2, 9, 10, 21, 22}, {0, 6, 13}}) {
            const Batch batch = toy_batch(3, L, starts, 1, toy.stride());
            const ToyRun whole = run_tiles(toy, batch, L, 1);
            for (int64_t T = toy.stride(); T < L; T += toy.stride()) {
                const ToyRun tiled = run_tiles(toy, batch, T, 1);
                const double tolerance = dtype == DType::f64 ? 1e-12 : 1e-5;
                EXPECT_LE(relative_rms(tiled.gradients, whole.gradients), tolerance) << name_of(dtype) << " T=" << T;
                EXPECT_NEAR(tiled.sums.loss, whole.sums.loss, tolerance * whole.sums.loss);
                EXPECT_EQ(tiled.sums.weight, whole.sums.weight);
            }
        }
    }
}

TEST_P(TilesOfEveryModel, tiled_equals_untiled_across_chunks) {
    ToyModel toy(GetParam(), DType::f32);
    const Batch batch = toy_batch(1, 1500, {0, 700, 1023}, 1, toy.stride());
    const ToyRun whole = run_tiles(toy, batch, 1500, 1, 2);
    for (int64_t T : {64, 100, 256, 1024}) {
        const ToyRun tiled = run_tiles(toy, batch, toy.tile(T), 2, 2);
        EXPECT_LE(relative_rms(tiled.gradients, whole.gradients), 1e-5) << "T=" << T;
    }
}

TEST_P(TilesOfEveryModel, f32_gradient_is_close_to_f64) {
    ToyModel exact(GetParam(), DType::f64), single(GetParam(), DType::f32);
    for (size_t e = 0; e < exact.params.entries().size(); ++e)
        for (int64_t k = 0; k < exact.params.entries()[e].spec.shape.numel(); ++k) {
            const TensorRef a = exact.params.entries()[e].param->value, b = single.params.entries()[e].param->value;
            ToyModel::add(a, k, ToyModel::get(b, k) - ToyModel::get(a, k));
        }
    const Batch batch = toy_batch(2, 300, {0, 100}, 1, exact.stride());
    const ToyRun a = run_tiles(exact, batch, 300, 1), b = run_tiles(single, batch, 300, 1);
    EXPECT_LE(relative_rms(b.gradients, a.gradients), 1e-5);
    EXPECT_GT(relative_rms(b.gradients, a.gradients), 1e-12);  // really two precisions
}

TEST_P(TilesOfEveryModel, keep_changes_no_bit) {
    ToyModel toy(GetParam(), DType::f32);
    const Batch batch = toy_batch(2, 330, {0, 65, 200}, 1, toy.stride());
    const ToyRun none = run_tiles(toy, batch, toy.tile(64), 0);
    for (int64_t keep : {1, 2, 3, 6, 99}) {
        const ToyRun run = run_tiles(toy, batch, toy.tile(64), keep);
        EXPECT_EQ(run.gradients, none.gradients) << "keep " << keep;
        EXPECT_EQ(run.sums.loss, none.sums.loss);
    }
}

TEST_P(TilesOfEveryModel, threads_change_no_bit) {
    ToyModel toy(GetParam(), DType::f32, 24, 2);
    const Batch batch = toy_batch(2, 700, {0, 65}, 1, toy.stride());
    const ToyRun one = run_tiles(toy, batch, 300, 1, 1);
    for (int threads : {2, 3, 7}) EXPECT_EQ(run_tiles(toy, batch, 300, 1, threads).gradients, one.gradients);
}

TEST_P(TilesOfEveryModel, packed_members_equal_separate_sequences) {
    ToyModel toy(GetParam(), DType::f64);
    const int64_t s = toy.stride(), L = 30 * s + 1;
    const std::vector<int64_t> starts{0, s, 4 * s, 20 * s};
    const Batch packed = toy_batch(1, L, starts);
    const ToyRun together = run_tiles(toy, packed, 7 * s, 1);
    LossSums sums;
    std::vector<double> gradients(together.gradients.size());
    for (size_t m = 0; m < starts.size(); ++m) {
        const int64_t begin = starts[m], end = m + 1 < starts.size() ? starts[m + 1] : L;
        Batch alone(1, end - begin);
        copy(packed.ids.ref().slice(1, begin, end - begin), alone.ids);
        copy(packed.targets.ref().slice(1, begin, end - begin), alone.targets);
        copy(packed.weights.ref().slice(1, begin, end - begin), alone.weights);
        const ToyRun run = run_tiles(toy, alone, end - begin, 1);
        sums.loss += run.sums.loss;
        sums.weight += run.sums.weight;
        for (size_t i = 0; i < gradients.size(); ++i) gradients[i] += run.gradients[i];
    }
    EXPECT_NEAR(sums.loss, together.sums.loss, 1e-12 * sums.loss);
    EXPECT_EQ(sums.weight, together.sums.weight);
    EXPECT_LE(relative_rms(gradients, together.gradients), 1e-12);
}

TEST_P(TilesOfEveryModel, what_lies_before_a_start_changes_nothing_after_it) {
    ToyModel toy(GetParam(), DType::f32);
    const int64_t s = toy.stride(), cut = 17 * s, L = 39 * s + 1;
    Batch a = toy_batch(1, L, {0, cut});
    std::fill_n(a.weights.ref().ptr<float>("w"), cut, 0.0f);
    Batch b = toy_batch(1, L, {0, cut});
    std::fill_n(b.weights.ref().ptr<float>("w"), cut, 0.0f);
    for (int64_t t = 0; t < cut; ++t) b.ids.ref().ptr<uint16_t>("ids")[t] = 11;
    for (int64_t T : {cut - s, cut, cut + s, L}) {
        const ToyRun x = run_tiles(toy, a, T, 1), y = run_tiles(toy, b, T, 1);
        EXPECT_EQ(x.sums.loss, y.sums.loss);
        EXPECT_EQ(x.gradients, y.gradients);
    }
}

TEST_P(TilesOfEveryModel, memory_at_a_fixed_tile_grows_only_by_borders_and_tokens) {
    ToyModel toy(GetParam(), DType::f32, 16, 2);
    const int64_t T = toy.tile(1024);
    const MemoryPlan small = plan_training(toy.model, {}, {1, 4 * T, T, 1});
    const MemoryPlan large = plan_training(toy.model, {}, {1, 1024 * T, T, 1});
    EXPECT_EQ(small.scratch_bytes, large.scratch_bytes);
    EXPECT_EQ(small.saved_bytes, large.saved_bytes);
    EXPECT_EQ(large.batch_bytes, small.batch_bytes * 256);
    const int64_t state = state_bytes(toy.model.backbone().state_spec(1), DType::f32);
    EXPECT_EQ(large.border_bytes - small.border_bytes, state * (1024 - 4));
    EXPECT_GT(plan_training(toy.model, {}, {1, 1024 * T, 1024 * T, 1}).total_bytes(), 20 * large.total_bytes());
}

TEST(TileMemory, logits_of_a_long_tile_never_exist_at_once) {
    ModelConfig config = ToyModel::config("mamba1", 8, 1, Discretization::euler);
    config.vocab_size = 1024;
    ToyModel toy(config, DType::f32);
    const int64_t T = int64_t{1} << 17;
    const int64_t scratch = plan_training(toy.model, {}, {1, T, T, 1}).scratch_bytes,
                  doubled = plan_training(toy.model, {}, {1, 2 * T, 2 * T, 1}).scratch_bytes;
    EXPECT_LT(doubled - scratch, T * config.vocab_size * size_of(DType::f32) / 4);
}

TEST(ChooseTiles, takes_one_tile_when_it_fits_and_a_power_of_two_when_not) {
    ToyModel toy("mamba2", DType::f32, 16, 2);
    const TileOptions want{2, 5000, 0, -1};
    const MemoryPlan all = choose_tiles(toy.model, {}, want, int64_t{1} << 40);
    EXPECT_EQ(all.tiles.T, 5000);
    EXPECT_EQ(all.n_tiles, 1);
    const int64_t limit = all.total_bytes() / 3;
    const MemoryPlan less = choose_tiles(toy.model, {}, want, limit);
    EXPECT_LE(less.total_bytes(), limit);
    EXPECT_GE(less.tiles.keep, 1);
    EXPECT_EQ(less.tiles.T & (less.tiles.T - 1), 0);
    EXPECT_GT(plan_training(toy.model, {}, {2, 5000, less.tiles.T, less.tiles.keep + 1}).total_bytes(), limit);
    EXPECT_EQ(choose_tiles(toy.model, {}, {2, 5000, 512, 1}, int64_t{1} << 40).tiles.keep, 1);
    EXPECT_EQ(choose_tiles(toy.model, {}, {2, 5000, 512, -1}, int64_t{1} << 40).tiles.keep, 10);
}

// Of a memory that is a few bytes too little for two of the longest tiles, half would be left over.
TEST(ChooseTiles, takes_shorter_tiles_where_clearly_more_of_the_sequence_is_kept_then) {
    ToyModel toy("mamba2", DType::f32, 16, 2);
    const auto plan = [&](int64_t T, int64_t keep) { return plan_training(toy.model, {}, {1, 1 << 16, T, keep}); };
    const int64_t nearly = plan(1 << 15, 2).total_bytes() - 1;
    const MemoryPlan chosen = choose_tiles(toy.model, {}, {1, 1 << 16, 0, -1}, nearly);
    EXPECT_LE(chosen.total_bytes(), nearly);
    EXPECT_LT(chosen.tiles.T, 1 << 15);
    EXPECT_GT(chosen.tiles.T * chosen.tiles.keep, 1 << 15);
    EXPECT_LT(chosen.step_flops, plan(1 << 15, 1).step_flops * 15 / 16);
    // Of a much longer sequence little more would be kept: the tile is the longest that fits.
    const MemoryPlan long_sequence = choose_tiles(toy.model, {}, {1, 1 << 20, 0, -1}, nearly);
    EXPECT_GT(plan_training(toy.model, {}, {1, 1 << 20, 2 * long_sequence.tiles.T, 1}).total_bytes(), nearly);
    // Asked for.
    EXPECT_EQ(choose_tiles(toy.model, {}, {1, 1 << 16, 0, 1}, nearly).tiles.T, 1 << 15);
}

// The plan of any tile length that takes least, one tile kept.
MemoryPlan smallest_plan(LanguageModel& model, int64_t L) {
    MemoryPlan best = plan_training(model, {}, {1, L, L, 1});
    for (int64_t T = 16; T < L; T *= 2)
        if (const MemoryPlan p = plan_training(model, {}, {1, L, T, 1}); p.total_bytes() < best.total_bytes())
            best = p;
    return best;
}

TEST(ChooseTiles, where_nothing_fits_the_error_has_the_smallest_need_its_largest_part_and_what_fits) {
    ToyModel toy("mamba2", DType::f32, 16, 2);
    const int64_t L = 1 << 16;
    const MemoryPlan best = smallest_plan(toy.model, L);
    EXPECT_GT(best.tiles.T, 16);  // the borders of the shortest tiles take more
    EXPECT_EQ(choose_tiles(toy.model, {}, {1, L, 0, -1}, best.total_bytes()).tiles.T, best.tiles.T);
    std::string what;
    try {
        choose_tiles(toy.model, {}, {1, L, 0, -1}, best.total_bytes() - 1);
    } catch (const OutOfMemory& e) {
        what = e.what();
    }
    EXPECT_THAT(what, testing::HasSubstr(fmt::format("1 x {} tokens in tiles of {} need {}, the most of it, ",
                                                     L, best.tiles.T, bytes_text(best.total_bytes()))));
    EXPECT_THAT(what, testing::MatchesRegex(".*; a length of [0-9]+ at this batch fits"));
    try {
        choose_tiles(toy.model, {}, {1, L, 0, -1}, 1000);
        FAIL();
    } catch (const OutOfMemory& e) {
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("1.0 KiB of memory are too little"));
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("no length fits at this batch"));
    }
}

TEST(ChooseTiles, the_largest_plans_fit_and_two_hundredths_more_do_not) {
    for (const std::string& mixer : model_names())
        for (const int64_t T : {0, 256}) {
            ToyModel toy(mixer, DType::f32, 16, 2);
            const int64_t stride = toy.stride(), tile = T > 0 ? toy.tile(T) : 0;
            const TileOptions want{2, 1024 * stride, tile, tile > 0 ? 1 : -1};
            const int64_t memory = 300 * plan_training(toy.model, {}, {2, 1024 * stride, toy.tile(256), 1}).total_bytes();
            const LargestPlans largest = largest_plans(toy.model, {}, want, memory);
            EXPECT_GT(largest.L, 1024 * stride);
            EXPECT_GT(largest.B, 200);
            const auto fits = [&](int64_t B, int64_t L) {
                try {
                    return choose_tiles(toy.model, {}, {B, L, tile, want.keep}, memory).total_bytes() <= memory;
                } catch (const OutOfMemory&) {
                    return false;
                }
            };
            const auto more = [](int64_t n, int64_t unit) { return n + ceil_div(n / 50, unit) * unit; };
            EXPECT_EQ(largest.L % stride, 0);
            EXPECT_TRUE(fits(2, largest.L)) << mixer << " T=" << T << " L=" << largest.L;
            EXPECT_FALSE(fits(2, more(largest.L, stride))) << mixer << " T=" << T << " L=" << largest.L;
            EXPECT_TRUE(fits(largest.B, 1024 * stride)) << mixer << " T=" << T << " B=" << largest.B;
            EXPECT_FALSE(fits(more(largest.B, 1), 1024 * stride)) << mixer << " T=" << T << " B=" << largest.B;
        }
}

TEST_P(TilesOfEveryModel, memory_for_scoring_is_what_a_session_takes_and_is_counted_where_it_is_asked_for) {
    ToyModel toy(GetParam(), DType::f32, 16, 2);
    for (const int64_t T : {100, 4096}) {
        ThreadPool pool(1);
        EXPECT_EQ(scoring_bytes(toy.model, {}, T), Session(toy.model, {.pool = &pool}, 1, T).bytes());
    }
    TileOptions tiles{2, 5000 * toy.stride(), toy.tile(500), 1};
    const MemoryPlan without = plan_training(toy.model, {}, tiles);
    tiles.evaluates = true;
    const MemoryPlan with = plan_training(toy.model, {}, tiles);
    EXPECT_EQ(with.evaluation_tile, 4096);
    EXPECT_EQ(with.total_bytes() - without.total_bytes(), scoring_bytes(toy.model, {}, 4096));
}

}  // namespace
}  // namespace adder
