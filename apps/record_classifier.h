// RecordClassifier: the class probabilities of whole records of any length, under a model with a member head.
//
// A record is a row of its own from the zero state on, cut into tiles and padded behind its end to a length that depends on
// the record alone. So what is computed for it depends on no other record and on no batch: on the CPU to the bit, on a GPU
// to rounding, for libraries may add in another order where a batch has another number of rows.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/state.h"
#include "pipelines/records.h"

namespace adder {

class RecordClassifier {
  public:
    // `tokens`: computed at a time, rows together.
    RecordClassifier(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer, int64_t tokens);

    // Bytes of the device that classifying these records takes at most, beside the parameters, which need no memory yet.
    static int64_t planned_bytes(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer, int64_t tokens,
                                 std::span<const TokenRecord> records, std::span<const int64_t> which);
    // That it holds now.
    int64_t bytes() const;

    // Memory for the largest of what `classify` computes together: so that its want shows before the first is computed.
    void reserve(std::span<const TokenRecord> records, std::span<const int64_t> which);
    // Logarithms of the probabilities of the records of these indices, (n,C) row by row. Every record has a token. Throws
    // Interrupted when `stop` (optional) is set.
    std::vector<double> classify(std::span<const TokenRecord> records, std::span<const int64_t> which,
                                 const std::atomic<bool>* stop = nullptr);

  private:
    // Rows that are computed together, all padded to the same length, in tiles of the same length.
    struct Group {
        std::span<const int64_t> rows;  // places in `which`
        int64_t padded, tile;
    };
    struct Groups {
        std::vector<int64_t> order;  // where their rows are
        std::vector<Group> all;
    };
    // The group that takes most memory.
    struct Largest {
        int64_t bytes = 0, rows = 0, tile = 0;
    };
    Largest largest(std::span<const TokenRecord> records, std::span<const int64_t> which) const;
    int64_t longest_tile() const;
    int64_t padded_length(int64_t tokens) const;
    Groups groups_of(std::span<const TokenRecord> records, std::span<const int64_t> which) const;
    void run_group(const Group& group, std::span<const TokenRecord> records, std::span<const int64_t> which,
                   std::span<double> to, const std::atomic<bool>* stop);
    int64_t scratch_bytes(int64_t rows, int64_t T) const;
    int64_t bytes_of(int64_t rows, int64_t T) const;
    void reserve(int64_t rows, int64_t T);
    void compute_tile(Ctx& ctx, const TensorRef& ids, State state, const TensorRef& z, int64_t t0) const;

    LanguageModel& model_;
    Compute compute_;
    const Tokenizer& tokenizer_;
    int64_t tokens_;
    Arena scratch_;
    Ctx ctx_;
    int64_t rows_ = 0, T_ = 0;  // of the memory below
    StateStore state_;
    Tensor ids_, z_, ends_, logits_;
    Tensor tokens_there_;  // on a GPU
};

}  // namespace adder
