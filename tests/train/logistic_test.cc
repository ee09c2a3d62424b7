#include "train/logistic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/rng.h"
#include "tests/io/scratch.h"
#include "train/cholesky.h"
#include "train/lbfgs.h"

namespace adder {
namespace {

struct Examples {
    std::vector<float> x;
    std::vector<int32_t> labels;
    std::vector<int64_t> rows;  // all of them
    FeatureRows features;
};

// Classes around random centres; the last feature is constant.
Examples examples(int64_t n, int64_t d, int32_t n_classes, uint64_t seed = 1) {
    const Philox rng(seed, Stream::test);
    Examples e;
    for (int64_t i = 0; i < n; ++i) {
        e.labels.push_back(static_cast<int32_t>(i % n_classes));
        e.rows.push_back(i);
        for (int64_t j = 0; j < d; ++j) {
            const double centre = rng.normal(static_cast<uint64_t>(e.labels.back()), static_cast<uint32_t>(1 + j));
            const double value = 0.3 * centre + rng.normal(static_cast<uint64_t>(1000 + i), static_cast<uint32_t>(j));
            e.x.push_back(j + 1 == d ? 0.7f : static_cast<float>(value));
        }
    }
    e.features = {e.x.data(), n, d};
    return e;
}

TEST(Logistic, coefficients_and_probabilities_equal_those_of_scikit_learn) {
    nlohmann::json cases;
    std::ifstream(ADDER_SOURCE_DIR "/tests/golden/classification/logistic.json") >> cases;
    ASSERT_GE(cases.size(), 6u);
    ThreadPool pool(2);
    for (const auto& c : cases) {
        SCOPED_TRACE(c["name"].get<std::string>());
        const auto n = static_cast<int64_t>(c["x"].size()), d = static_cast<int64_t>(c["x"][0].size());
        std::vector<float> x;
        for (const auto& row : c["x"])
            for (const float v : row) x.push_back(v);
        const FeatureRows features{x.data(), n, d};
        const auto truth = c["truth"].get<std::vector<int32_t>>();
        std::vector<int64_t> all(static_cast<size_t>(n));
        std::iota(all.begin(), all.end(), 0);
        const auto train = c["train"].get<int64_t>();
        LogisticRegression regression(pool, features, truth, std::span(all).first(static_cast<size_t>(train)),
                                      c["classes"]);
        const LogisticModel& m = regression.fit(1 / (c["C"].get<double>() * static_cast<double>(train)), 1e-18);
        const auto close = [](double got, double want) { EXPECT_NEAR(got, want, 2e-6 * (1 + std::abs(want))); };
        for (size_t k = 0; k < m.bias.size(); ++k) {
            for (int64_t j = 0; j < d; ++j)
                close(m.weights[k * static_cast<size_t>(d) + static_cast<size_t>(j)], c["coefficients"][k][j]);
            close(m.bias[k], c["intercepts"][k]);
        }
        const std::vector<double> p = predict(pool, m, features, all);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < m.n_classes; ++k)
                close(p[static_cast<size_t>(i * m.n_classes + k)], c["probabilities"][i][k]);
    }
}

TEST(Logistic, threads_change_no_bit) {
    for (const int32_t n_classes : {2, 4}) {
        const Examples e = examples(700, 150, n_classes);
        std::vector<double> first;
        for (const int threads : {1, 2, 3, 7}) {
            ThreadPool pool(threads);
            LogisticRegression regression(pool, e.features, e.labels, e.rows, n_classes);
            regression.fit(0.1, 1e-6);
            const std::vector<double> p = predict(pool, regression.fit(1e-3, 1e-12), e.features, e.rows);
            if (threads == 1) first = p;
            EXPECT_EQ(p, first) << threads;
        }
    }
}

TEST(Logistic, a_fit_that_goes_on_from_another_ends_at_the_same_minimum) {
    const Examples e = examples(300, 20, 3);
    ThreadPool pool(1);
    LogisticRegression fresh(pool, e.features, e.labels, e.rows, 3), series(pool, e.features, e.labels, e.rows, 3);
    for (const double l2 : {10.0, 1.0, 0.1}) series.fit(l2, 1e-6);
    const LogisticModel a = fresh.fit(0.01, 1e-16), b = series.fit(0.01, 1e-16);
    for (size_t i = 0; i < a.weights.size(); ++i) EXPECT_NEAR(a.weights[i], b.weights[i], 1e-6);
}

TEST(Logistic, more_features_than_the_preconditioner_takes_end_at_the_minimum_too) {
    // Repeated features share a weight: the minimum of d features, each 50 times, is that of d with l2 / 50.
    const Examples e = examples(120, 101, 2);
    std::vector<float> wide;
    for (int64_t i = 0; i < 120; ++i)
        for (int64_t copy = 0; copy < 50; ++copy) wide.insert(wide.end(), e.features.row(i), e.features.row(i) + 101);
    ThreadPool pool(2);
    const FeatureRows features{wide.data(), 120, 5050};
    LogisticRegression narrow(pool, e.features, e.labels, e.rows, 2), repeated(pool, features, e.labels, e.rows, 2);
    const std::vector<double> a = predict(pool, narrow.fit(0.02, 1e-16), e.features, e.rows);
    const std::vector<double> b = predict(pool, repeated.fit(1, 1e-16), features, e.rows);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6);
}

TEST(Logistic, a_class_without_training_examples_has_probability_zero) {
    const Examples e = examples(90, 5, 3);
    std::vector<int64_t> rows;
    for (const int64_t i : e.rows)
        if (e.labels[static_cast<size_t>(i)] != 1) rows.push_back(i);
    ThreadPool pool(1);
    LogisticRegression regression(pool, e.features, e.labels, rows, 3);
    const std::vector<double> p = predict(pool, regression.fit(0.1, 1e-10), e.features, e.rows);
    for (size_t i = 0; i < p.size(); i += 3) {
        EXPECT_EQ(p[i + 1], 0);
        EXPECT_NEAR(p[i] + p[i + 2], 1, 1e-12);
    }
    EXPECT_THAT(error_of([&] {
                    LogisticRegression(pool, e.features, e.labels, std::vector<int64_t>{0, 3, 6}, 3);
                }),
                testing::HasSubstr("all of one class"));
}

TEST(Logistic, a_constant_feature_has_no_weight) {
    const Examples e = examples(60, 5, 2);
    ThreadPool pool(1);
    LogisticRegression regression(pool, e.features, e.labels, e.rows, 2);
    EXPECT_EQ(regression.fit(0.1, 1e-10).weights[4], 0);
}

TEST(Lbfgs, finds_the_minimum_of_a_badly_scaled_quadratic) {
    std::vector<double> x(50, 1.0);
    const auto f = [](const std::vector<double>& at, std::vector<double>& gradient) {
        double value = 0;
        for (size_t i = 0; i < at.size(); ++i) {
            const double scale = std::pow(10.0, 2.0 * static_cast<double>(i) / 50),
                         off = at[i] - static_cast<double>(i);
            value += 0.5 * scale * off * off;
            gradient[i] = scale * off;
        }
        return value;
    };
    EXPECT_TRUE(minimize(f, x, {.tolerance = 1e-16}).converged);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], static_cast<double>(i), 1e-7);
}

TEST(Cholesky, the_factor_times_its_transpose_is_the_matrix_and_threads_change_no_bit) {
    const Philox rng(3, Stream::test);
    for (const int64_t n : {1, 7, 128, 129, 400}) {
        std::vector<double> half(static_cast<size_t>(n * n)), a(half.size());
        for (size_t i = 0; i < half.size(); ++i) half[i] = rng.normal(i);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j) {
                double sum = i == j ? 0.1 : 0;
                for (int64_t k = 0; k < n; ++k)
                    sum += half[static_cast<size_t>(i * n + k)] * half[static_cast<size_t>(j * n + k)];
                a[static_cast<size_t>(i * n + j)] = sum;
            }
        std::vector<double> one = a, three = a;
        ThreadPool pool1(1), pool3(3);
        cholesky(pool1, one.data(), n);
        cholesky(pool3, three.data(), n);
        EXPECT_EQ(one, three);
        for (int64_t i = 0; i < n; i += 13)
            for (int64_t j = 0; j <= i; j += 7) {
                double sum = 0;
                for (int64_t k = 0; k <= j; ++k)
                    sum += one[static_cast<size_t>(i * n + k)] * one[static_cast<size_t>(j * n + k)];
                EXPECT_NEAR(sum, a[static_cast<size_t>(i * n + j)], 1e-9 * static_cast<double>(n));
            }
    }
}

TEST(Cholesky, rows_are_solved_against_the_factor_and_threads_change_no_bit) {
    const Philox rng(5, Stream::test);
    ThreadPool pool1(1), pool3(3);
    for (const int64_t n : {1, 128, 129, 300})
        for (const int64_t rows : {1, 3}) {
            std::vector<double> l(static_cast<size_t>(n * n)), x(static_cast<size_t>(rows * n));
            for (size_t i = 0; i < l.size(); ++i) l[i] = 0.05 * rng.normal(i);
            for (int64_t i = 0; i < n; ++i) l[static_cast<size_t>(i * n + i)] += 2;
            for (size_t i = 0; i < x.size(); ++i) x[i] = rng.normal(l.size() + i);
            const auto at = [&](int64_t i, int64_t j) { return l[static_cast<size_t>(i * n + j)]; };
            std::vector<double> one = x, three = x, turned_one = x, turned_three = x;
            solve_lower(pool1, l.data(), n, one.data(), rows);
            solve_lower(pool3, l.data(), n, three.data(), rows);
            solve_lower_transposed(pool1, l.data(), n, turned_one.data(), rows);
            solve_lower_transposed(pool3, l.data(), n, turned_three.data(), rows);
            EXPECT_EQ(one, three);
            EXPECT_EQ(turned_one, turned_three);
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t j = 0; j < n; ++j) {
                    double sum = 0, turned = 0;
                    for (int64_t i = j; i < n; ++i) sum += one[static_cast<size_t>(r * n + i)] * at(i, j);
                    for (int64_t i = 0; i <= j; ++i) turned += turned_one[static_cast<size_t>(r * n + i)] * at(j, i);
                    EXPECT_NEAR(sum, x[static_cast<size_t>(r * n + j)], 1e-10);
                    EXPECT_NEAR(turned, x[static_cast<size_t>(r * n + j)], 1e-10);
                }
        }
}

TEST(Cholesky, an_indefinite_matrix_is_an_error) {
    std::vector<double> indefinite{1, 2, 2, 1};
    ThreadPool pool(1);
    EXPECT_THAT(error_of([&] { cholesky(pool, indefinite.data(), 2); }), testing::HasSubstr("not positive definite"));
}

}  // namespace
}  // namespace adder
