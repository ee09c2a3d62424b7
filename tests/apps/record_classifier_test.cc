// Classifying whole records: any length, in any company.
#include "apps/record_classifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "model/params.h"
#include "model/tile_engine.h"
#include "pipelines/domain.h"

namespace adder {
namespace {

struct Toy {
    explicit Toy(PoolKind pool, const std::string& mixer = "mamba2") : model(config(pool, mixer)),
        params([this](ParamVisitor& v) { model.visit(v); }, DType::f32, false) {
        params.initialise(1);
        const Philox random(3, Stream::test);
        uint64_t i = 0;
        for (const auto& e : params.entries())
            for (int64_t k = 0; k < e.spec.shape.numel(); ++k)
                e.param->master.ptr<float>("p")[k] += static_cast<float>(0.3 * random.normal(i++));
    }
    static ModelConfig config(PoolKind pool, const std::string& mixer) {
        ModelConfig c;
        c.mixer = mixer;
        c.d_model = 8;
        c.n_layer = 2;
        c.vocab_size = 12;
        c.d_state = 5;
        c.classes = {"a", "b", "c"};
        c.pool = pool;
        return c;
    }
    LanguageModel model;
    ParamStore params;
};

std::vector<TokenRecord> records_of(const std::vector<int64_t>& lengths) {
    const Philox random(5, Stream::test);
    std::vector<TokenRecord> records;
    uint64_t k = 0;
    for (const int64_t n : lengths) {
        TokenRecord r{.name = "r"};
        for (int64_t t = 0; t < n; ++t) r.symbols.push_back(static_cast<uint8_t>(random.below(4, k++)));
        records.push_back(std::move(r));
    }
    return records;
}

class OfEveryPool : public testing::TestWithParam<PoolKind> {
  protected:
    OfEveryPool() : tokenizer_(find_domain("dna").make_tokenizer({})), toy_(GetParam()) {}
    std::vector<double> classify(const std::vector<TokenRecord>& records, const std::vector<int64_t>& which, int64_t tokens,
                                 int threads = 1) {
        ThreadPool pool(threads);
        RecordClassifier classifier(toy_.model, {.pool = &pool}, *tokenizer_, tokens);
        return classifier.classify(records, which);
    }
    std::unique_ptr<const Tokenizer> tokenizer_;
    Toy toy_;
};
INSTANTIATE_TEST_SUITE_P(Pools, OfEveryPool, testing::ValuesIn(kPoolKinds),
                         [](const auto& p) { return std::string(name_of(p.param)); });

TEST_P(OfEveryPool, a_records_probabilities_depend_on_nothing_but_the_record) {
    const std::vector<TokenRecord> records = records_of({1, 5, 5, 16, 17, 33, 200, 201, 230, 255, 4096, 4097, 9000, 30});
    std::vector<int64_t> all(records.size());
    std::iota(all.begin(), all.end(), int64_t{0});
    const std::vector<double> together = classify(records, all, 1 << 16);
    EXPECT_EQ(classify(records, all, 1), together);
    EXPECT_EQ(classify(records, all, 500, 3), together);
    for (size_t i = 0; i < records.size(); ++i) {
        const std::vector<double> alone = classify(records, {static_cast<int64_t>(i)}, 1 << 16);
        EXPECT_THAT(alone, testing::ElementsAreArray(together.data() + 3 * i, 3)) << records[i].symbols.size();
        EXPECT_NEAR(std::exp(alone[0]) + std::exp(alone[1]) + std::exp(alone[2]), 1, 1e-12);
    }
    EXPECT_NE(together[0], together[3]);
}

// The training engine counts the same nats.
TEST_P(OfEveryPool, agrees_with_the_loss_that_is_trained) {
    for (const int64_t n : {1, 37, 4095, 4099, 8200}) {
        const std::vector<TokenRecord> records = records_of({n});
        const std::vector<double> logs = classify(records, {0}, 4096);
        Batch batch(1, n);
        auto* weights = batch.weights.ref().ptr<float>("weights");
        tokenizer_->write(records[0].symbols, 0, n, false, batch.ids.ref().ptr<uint16_t>("ids"), weights);
        std::fill_n(weights, n - 1, 0.0f);
        weights[n - 1] = 1;
        batch.targets.ref().ptr<uint16_t>("targets")[n - 1] = 2;
        batch.start.ref().ptr<uint8_t>("start")[0] = 1;
        ParamStore trained([&](ParamVisitor& v) { toy_.model.visit(v); }, DType::f32, true);
        copy(toy_.params.masters(), trained.masters());
        ThreadPool pool(1);
        const Compute compute{.pool = &pool};
        TileEngine engine(toy_.model, compute, plan_training(toy_.model, compute, {1, n, std::min<int64_t>(n, 1000), 1}));
        const Tensor sums(DType::f64, {2});
        engine.forward_backward(batch, sums);
        EXPECT_NEAR(-logs[2], sums.ref().ptr<double>("sums")[0], 1e-5) << n;
        ParamStore again([&](ParamVisitor& v) { toy_.model.visit(v); }, DType::f32, false);  // binds the model anew
        copy(toy_.params.masters(), again.masters());
        std::swap(toy_.params, again);
    }
}

// Before anything is allocated, and no more than that in the end.
TEST_P(OfEveryPool, takes_the_memory_that_was_planned) {
    ThreadPool pool(1);
    const Compute compute{.pool = &pool};
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{30}, {200, 201, 202}, {9000}, {1, 30, 3000, 9000, 9100}}) {
        const std::vector<TokenRecord> records = records_of(lengths);
        std::vector<int64_t> all(records.size());
        std::iota(all.begin(), all.end(), int64_t{0});
        for (const int64_t tokens : {1, 1024, 1 << 16}) {
            LanguageModel unbound(Toy::config(GetParam(), "mamba2"));
            const int64_t planned =
                RecordClassifier::planned_bytes(unbound, compute, *tokenizer_, tokens, records, all);
            RecordClassifier classifier(toy_.model, compute, *tokenizer_, tokens);
            int64_t most = 0;
            for (size_t n = 1; n <= all.size(); ++n) {
                classifier.classify(records, std::span(all).last(n));
                most = std::max(most, classifier.bytes());
            }
            EXPECT_LE(most, planned) << lengths.size() << " records, " << tokens << " tokens";
            if (lengths.size() == 1) {
                EXPECT_EQ(most, planned);
            }
        }
    }
}

}  // namespace
}  // namespace adder
