// Checkpoints and losses that an independent program made (tests/golden/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/scoring.h"
#include "apps/setup.h"
#include "train/checkpoint.h"

namespace adder {
namespace {

const std::string kFolder = ADDER_SOURCE_DIR "/tests/golden/";

Dataset sequences() {
    DataOptions options;
    options.input = {kFolder + "sequence.fa"};
    return find_domain("dna").load(options);
}

class Golden : public testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        std::ifstream(kFolder + GetParam() + "/expected.json") >> expected_;
        ASSERT_EQ(expected_["records"].size(), data_.records.size());
    }
    // The record of that name: its counted tokens and their nats.
    void expect(const std::string& name, const LossSums& got, double tolerance) const {
        const auto& all = expected_["records"];
        const auto want = std::find_if(all.begin(), all.end(), [&](const auto& r) { return r["name"] == name; });
        ASSERT_NE(want, all.end()) << name;
        const double nats = (*want)["nats"];
        EXPECT_EQ(got.weight, (*want)["tokens"].get<double>()) << name;
        EXPECT_NEAR(got.loss, nats, tolerance * nats) << name;
    }

    nlohmann::json expected_;
    const Dataset data_ = sequences();
    ThreadPool pool_{2};
};
INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, testing::Values("mamba1", "mamba1_zoh", "mamba2", "mamba2_zoh", "unet"));

TEST_P(Golden, every_record_has_the_nats_of_the_independent_program) {
    LoadedModel loaded(kFolder + GetParam(), false);
    // Tiles that end inside records, and one that holds them all.
    for (const int64_t T : {13, 4096}) {  // rounded up to whole groups of pools
        SegmentScorer scorer(loaded.model, {.pool = &pool_}, *data_.tokenizer, T);
        const std::vector<Segment> whole = whole_records(data_.records);
        const LossSums sums = scorer.score(data_.records, whole, [&](size_t i, const LossSums& own) {
            expect(data_.records[static_cast<size_t>(whole[i].record)].name, own, 1e-5);
        });
        EXPECT_EQ(sums.weight, expected_["tokens"].get<double>());
        EXPECT_NEAR(sums.loss / sums.weight, expected_["nats_per_token"].get<double>(), 1e-5);
    }
}

TEST_P(Golden, in_double_precision_they_agree_to_rounding) {
    LoadedModel single(kFolder + GetParam(), false);
    LanguageModel model(load_config(kFolder + GetParam()));
    ParamStore params([&](ParamVisitor& v) { model.visit(v); }, DType::f64, false);
    for (size_t i = 0; i < params.entries().size(); ++i) {
        const TensorRef &from = single.params.entries()[i].param->value, &to = params.entries()[i].param->value;
        std::copy_n(from.ptr<float>("from"), from.numel(), to.ptr<double>("to"));
    }
    for (const TokenRecord& record : data_.records) {
        const Member member{record.symbols, kNoToken};
        const int64_t n = n_positions(*data_.tokenizer, member);
        if (n == 0) continue;
        Batch batch(1, n);
        write_piece(*data_.tokenizer, member, {0, n, true, false}, row_of(batch, 0));
        Session session(model, {.storage = DType::f64, .pool = &pool_}, 1, n);
        std::vector<double> nats(static_cast<size_t>(n));
        const BatchRow row = row_of(batch, 0);
        session.reset(0);
        session.score({0, 1, n, 0, 0, row.ids, row.targets, row.weights, row.start}, nats.data());
        LossSums sums;
        for (int64_t t = 0; t < n; ++t) {
            sums.weight += static_cast<double>(row.weights[t]);
            sums.loss += static_cast<double>(row.weights[t]) * nats[static_cast<size_t>(t)];
        }
        // Not closer: the epsilon of the norms is a float.
        expect(record.name, sums, 1e-10);
    }
}

}  // namespace
}  // namespace adder
