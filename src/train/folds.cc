#include "train/folds.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace adder {

namespace {

// 0 .. n-1 in an order drawn from the seed (Fisher and Yates).
std::vector<int64_t> shuffled(int64_t n, uint64_t seed) {
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    const Philox rng(seed, Stream::windows);
    for (int64_t i = n - 1; i > 0; --i) {
        const uint64_t j = rng.below(static_cast<uint64_t>(i) + 1, static_cast<uint64_t>(i));
        std::swap(order[static_cast<size_t>(i)], order[j]);
    }
    return order;
}

int64_t count_of(std::span<const int32_t> numbers) {
    return numbers.empty() ? 0 : *std::max_element(numbers.begin(), numbers.end()) + 1;
}

// Class after class is dealt like cards, each going on where the last one ended.
std::vector<int32_t> deal(std::span<const int32_t> labels, int32_t n_folds, uint64_t seed) {
    std::vector<std::vector<int64_t>> members(static_cast<size_t>(count_of(labels)));
    for (const int64_t i : shuffled(static_cast<int64_t>(labels.size()), seed))
        members[static_cast<size_t>(labels[static_cast<size_t>(i)])].push_back(i);
    std::vector<int32_t> fold(labels.size());
    int32_t next = 0;
    for (const auto& of_class : members)
        for (const int64_t i : of_class) {
            fold[static_cast<size_t>(i)] = next;
            next = (next + 1) % n_folds;
        }
    return fold;
}

// Places whole groups, largest first, each where the sum of squared class shares grows least.
class GroupDealer {
  public:
    GroupDealer(std::span<const int32_t> labels, std::span<const int32_t> groups, int32_t n_folds)
        : n_classes_(count_of(labels)),
          n_folds_(n_folds),
          members_(static_cast<size_t>(count_of(groups))),
          totals_(static_cast<size_t>(n_classes_)),
          filled_(static_cast<size_t>(n_folds * n_classes_)),
          sizes_(static_cast<size_t>(n_folds)),
          labels_(labels) {
        for (size_t i = 0; i < labels.size(); ++i) {
            members_[static_cast<size_t>(groups[i])].push_back(static_cast<int64_t>(i));
            ++totals_[static_cast<size_t>(labels[i])];
        }
    }

    std::vector<int32_t> run(uint64_t seed) {
        std::vector<int64_t> order = shuffled(static_cast<int64_t>(members_.size()), seed);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return size_of(a) > size_of(b); });
        std::vector<int32_t> fold(labels_.size());
        for (const int64_t group : order) {
            const int32_t to = place(group);
            for (const int64_t i : members_[static_cast<size_t>(group)]) fold[static_cast<size_t>(i)] = to;
        }
        return fold;
    }

  private:
    size_t size_of(int64_t group) const { return members_[static_cast<size_t>(group)].size(); }

    // Classes of a group, in order, and how many examples it has of each.
    std::vector<std::pair<int32_t, double>> counts_of(int64_t group) const {
        std::vector<int32_t> classes;
        for (const int64_t i : members_[static_cast<size_t>(group)]) classes.push_back(labels_[static_cast<size_t>(i)]);
        std::sort(classes.begin(), classes.end());
        std::vector<std::pair<int32_t, double>> counts;
        for (const int32_t c : classes) {
            if (counts.empty() || counts.back().first != c) counts.emplace_back(c, 0);
            ++counts.back().second;
        }
        return counts;
    }

    double& filled(int32_t fold, int32_t c) { return filled_[static_cast<size_t>(fold * n_classes_ + c)]; }

    int32_t place(int64_t group) {
        const auto counts = counts_of(group);
        int32_t best = 0;
        double best_growth = 0;
        for (int32_t f = 0; f < n_folds_; ++f) {
            double growth = 0;
            for (const auto& [c, count] : counts) {
                const double total = totals_[static_cast<size_t>(c)];
                growth += count * (2 * filled(f, c) + count) / (total * total);
            }
            const bool is_smaller = sizes_[static_cast<size_t>(f)] < sizes_[static_cast<size_t>(best)];
            if (f == 0 || growth < best_growth || (growth == best_growth && is_smaller)) {
                best = f;
                best_growth = growth;
            }
        }
        for (const auto& [c, count] : counts) filled(best, c) += count;
        sizes_[static_cast<size_t>(best)] += static_cast<int64_t>(size_of(group));
        return best;
    }

    int64_t n_classes_;
    int32_t n_folds_;
    std::vector<std::vector<int64_t>> members_;
    std::vector<double> totals_, filled_;  // (C), (folds,C)
    std::vector<int64_t> sizes_;
    std::span<const int32_t> labels_;
};

}  // namespace

std::vector<int32_t> stratified_folds(std::span<const int32_t> labels, std::span<const int32_t> groups, int32_t n_folds,
                                      uint64_t seed) {
    CHECK(groups.empty() || groups.size() == labels.size());
    if (n_folds < 2) fail("[folds] {} folds; hint: at least 2", n_folds);
    if (static_cast<int64_t>(labels.size()) < n_folds)
        fail("[folds] {} examples do not make {} folds; hint: give more examples", labels.size(), n_folds);
    if (groups.empty()) return deal(labels, n_folds, seed);
    const auto n_groups = std::set<int32_t>(groups.begin(), groups.end()).size();
    if (n_groups < static_cast<size_t>(n_folds))
        fail("[folds] {} groups do not make {} folds, for a group stays whole; hint: give a column with more groups",
             n_groups, n_folds);
    return GroupDealer(labels, groups, n_folds).run(seed);
}

std::vector<int32_t> numbered(std::span<const std::string> texts) {
    std::unordered_map<std::string_view, int32_t> number;
    std::vector<int32_t> numbers;
    for (const std::string& text : texts)
        numbers.push_back(number.emplace(text, static_cast<int32_t>(number.size())).first->second);
    return numbers;
}

}  // namespace adder
