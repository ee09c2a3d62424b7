#include "model/generate.h"

#include <algorithm>

#include "core/rng.h"
#include "model/session.h"
#include "model/tile_engine.h"

namespace adder {

namespace {

// One batch of records, all steps in lockstep; a row that is complete goes on without being read.
class BatchRun {
  public:
    BatchRun(Session& session, const GenerateOptions& o, const LanguageModel& model)
        : session_(session), o_(o), random_(o.seed, Stream::sample), vocab_(model.vocab()),
          input_(static_cast<size_t>(session.rows())), records_(static_cast<size_t>(session.rows())) {}

    void start(int64_t row, int64_t record, std::span<const uint16_t> prompt, const std::atomic<bool>* stop) {
        auto& tokens = records_[static_cast<size_t>(row)];
        tokens.assign(prompt.begin(), prompt.end());
        tokens.reserve(static_cast<size_t>(o_.n_tokens));
        if (tokens.empty()) tokens.push_back(first_token(record));
        const auto known = static_cast<int64_t>(tokens.size());
        if (row > 0 && tokens == records_[0]) {
            session_.copy_row(0, row);
            return;
        }
        session_.reset(row);
        // The last known token enters as a step, which gives the first logits.
        for (int64_t t = 0; t < known - 1; t += session_.tile()) {
            if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
            session_.read(row, tokens.data() + t, nullptr, std::min(session_.tile(), known - 1 - t), t);
        }
    }

    // Returns false when every row is complete.
    bool step(int64_t first_record, int64_t n_rows) {
        bool open = false;
        for (int64_t b = 0; b < session_.rows(); ++b) {
            auto& tokens = records_[static_cast<size_t>(b)];
            input_[static_cast<size_t>(b)] = tokens.empty() ? uint16_t{0} : tokens.back();
            open |= b < n_rows && static_cast<int64_t>(tokens.size()) < o_.n_tokens;
        }
        if (!open) return false;
        const TensorRef logits = session_.step(input_.data());
        for (int64_t b = 0; b < n_rows; ++b) {
            auto& tokens = records_[static_cast<size_t>(b)];
            const auto position = static_cast<uint64_t>(tokens.size());
            if (static_cast<int64_t>(position) >= o_.n_tokens) continue;
            const double u = random_.uniform(position, static_cast<uint32_t>(first_record + b));
            tokens.push_back(sample(logits.slice(0, b, 1).reshape({vocab_}), o_.sampler, u, order_));
        }
        return true;
    }

    std::span<const uint16_t> record(int64_t row) const { return records_[static_cast<size_t>(row)]; }

  private:
    uint16_t first_token(int64_t record) const {
        const auto n = static_cast<uint64_t>(std::count(o_.sampler.allowed.begin(), o_.sampler.allowed.end(), 1));
        uint64_t skip = random_.below(n, 0, static_cast<uint32_t>(record));
        for (size_t id = 0; id < o_.sampler.allowed.size(); ++id)
            if (o_.sampler.allowed[id] && skip-- == 0) return static_cast<uint16_t>(id);
        CHECK(false);
        return 0;
    }

    Session& session_;
    const GenerateOptions& o_;
    Philox random_;
    int64_t vocab_;
    std::vector<uint16_t> input_, order_;
    std::vector<std::vector<uint16_t>> records_;
};

}  // namespace

void generate(LanguageModel& model, const Compute& compute, const GenerateOptions& o, const PromptOf& prompt_of,
              const RecordSink& sink, const std::atomic<bool>* stop) {
    check(o.sampler, model.vocab());
    if (o.n_records < 1 || o.n_records > (int64_t{1} << 32))
        fail("[generate] {} records: expected 1 to 2^32", o.n_records);
    for (int64_t k = 0; k < o.n_records; ++k)
        if (const auto n = static_cast<int64_t>(prompt_of(k).size()); n > o.n_tokens)
            fail("[generate] the prompt has {} tokens, the whole record only {}; hint: a larger --tokens", n, o.n_tokens);
    if (o.n_tokens < 1) fail("[generate] {} tokens: expected at least 1", o.n_tokens);

    Session session(model, compute, std::min(o.batch, o.n_records), o.tile);
    BatchRun run(session, o, model);
    for (int64_t k = 0; k < o.n_records; k += session.rows()) {
        const int64_t n = std::min(session.rows(), o.n_records - k);
        for (int64_t b = 0; b < n; ++b) run.start(b, k + b, prompt_of(k + b), stop);
        while (run.step(k, n))
            if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        for (int64_t b = 0; b < n; ++b) sink(k + b, run.record(b));
    }
}

}  // namespace adder
