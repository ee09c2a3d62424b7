#include "model/generate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "core/rng.h"
#include "model/session.h"
#include "model/tile_engine.h"

namespace adder {

namespace {

// Drawing on a GPU: a recorded step reads the last tokens, computes, and draws the next ones; what changes from step to
// step lives on the device, and tokens come back many at a time, while the device goes on.
class DeviceSteps {
  public:
    DeviceSteps(Session& session, const Compute& compute, const GenerateOptions& o, int64_t V)
        : session_(session), o_(o), scratch_(Device::cuda, "scratch of sampling"), ctx_(compute.context(scratch_, true)),
          B_(session.rows()), allowed_(DType::u8, {V}, Device::cuda), rows_(DType::i64, {3, B_}, Device::cuda),
          tokens_(DType::u16, {B_, kColumns}, Device::cuda), host_rows_(DType::i64, {3, B_}) {
        copy_bytes(allowed_.ref().data, o.sampler.allowed.data(), V);
        draw();
        ctx_ = compute.context(scratch_);
        scratch_.bind(scratch_.peak_bytes());
        for (Letter& l : letters_) l.tokens = PinnedMemory(tokens_.ref().bytes() + static_cast<int64_t>(sizeof(FaultWord)));
    }

    // Completes the first n_rows records, of which `read` tokens have been read, as often as not all but the last.
    void run(std::vector<std::vector<uint16_t>>& records, std::vector<int64_t>& read, int64_t first_record, int64_t n_rows,
             const std::atomic<bool>* stop) {
        while (read_known(records, read, first_record, n_rows)) {}
        begin(records, first_record, n_rows);
        int64_t steps = 0;
        for (int64_t b = 0; b < n_rows; ++b)
            steps = std::max(steps, o_.n_tokens - static_cast<int64_t>(records[static_cast<size_t>(b)].size()));
        int64_t given = 0;
        for (size_t i = 0; given < steps; i = 1 - i) {
            if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
            const int64_t n = std::min(kColumns, steps - given);
            for (int64_t k = 0; k < n;) {
                const int64_t count = n - k >= kRecordedSteps ? kRecordedSteps : 1;
                session_.steps_and(count, [&] { draw(); });
                k += count;
            }
            given += n;
            send(letters_[i], n);
            receive(letters_[1 - i], records, n_rows);
            if (given == steps) receive(letters_[i], records, n_rows);
        }
    }

  private:
    static constexpr int64_t kColumns = 256;  // tokens of a row on the device
    // Between two graphs the device waits for as long as one or two kernels take.
    static constexpr int64_t kRecordedSteps = 8;
    struct Letter {
        PinnedMemory tokens;  // and the fault word
        Event done;
        int64_t steps = 0;
    };
    TensorRef row_of(int64_t i) const { return rows_.ref().slice(0, i, 1).reshape({B_}); }

    void draw() {
        const TensorRef position = row_of(0);
        sample(ctx_, {session_.logits(), allowed_, o_.sampler, o_.seed},
               {position, row_of(1), row_of(2), position, session_.step_ids(), tokens_});
    }

    // One step of all rows where one still has more than its last token to read. Others draw meanwhile.
    bool read_known(std::vector<std::vector<uint16_t>>& records, std::vector<int64_t>& read, int64_t first_record,
                    int64_t n_rows) {
        std::vector<uint16_t> ids(static_cast<size_t>(B_));
        std::vector<size_t> drawing;
        bool behind = false;
        auto* at = host_rows_.ref().ptr<int64_t>("rows");
        std::fill_n(at, 3 * B_, 0);
        for (size_t b = 0; b < static_cast<size_t>(n_rows); ++b) {
            const auto known = static_cast<int64_t>(records[b].size()), i = static_cast<int64_t>(b);
            behind |= read[b] + 1 < known;
            ids[b] = records[b][static_cast<size_t>(std::min(read[b], known - 1))];
            if (read[b] + 1 < known || known >= o_.n_tokens) continue;
            drawing.push_back(b);
            at[i] = known;
            at[B_ + i] = o_.n_tokens;
            at[2 * B_ + i] = first_record + i;
        }
        if (!behind) return false;
        session_.step(ids.data());
        copy(host_rows_, rows_);
        draw();
        const HostCopy drawn(session_.step_ids());
        for (size_t b = 0; b < static_cast<size_t>(n_rows); ++b) read[b] += 1;
        for (size_t b : drawing) records[b].push_back(drawn.ref().ptr<uint16_t>("ids")[b]);
        return true;
    }

    void begin(const std::vector<std::vector<uint16_t>>& records, int64_t first_record, int64_t n_rows) {
        auto* at = host_rows_.ref().ptr<int64_t>("rows");
        std::vector<uint16_t> last(static_cast<size_t>(B_));
        for (int64_t b = 0; b < B_; ++b) {
            // A row without a record draws nothing.
            const auto& tokens = records[static_cast<size_t>(b)];
            const bool used = b < n_rows;
            at[b] = used ? static_cast<int64_t>(tokens.size()) : 0;
            at[B_ + b] = used ? o_.n_tokens : 0;
            at[2 * B_ + b] = used ? first_record + b : 0;
            if (used) last[static_cast<size_t>(b)] = tokens.back();
        }
        copy(host_rows_, rows_);
        copy_bytes(session_.step_ids().data, last.data(), B_ * size_of(DType::u16));
    }

    void send(Letter& letter, int64_t steps) {
        CUstream_st* stream = ctx_.gpu->stream();
        auto* to = letter.tokens.as<char>();
        copy_async(to, tokens_.ref().data, tokens_.ref().bytes(), stream);
        copy_async(to + tokens_.ref().bytes(), ctx_.gpu->fault_word(), sizeof(FaultWord), stream);
        letter.done.record(stream);
        letter.steps = steps;
    }

    void receive(Letter& letter, std::vector<std::vector<uint16_t>>& records, int64_t n_rows) {
        if (letter.steps == 0) return;
        letter.done.synchronize();
        FaultWord fault;
        std::memcpy(&fault, letter.tokens.as<char>() + tokens_.ref().bytes(), sizeof fault);
        if (fault.fault != Fault::none) throw Error(describe(fault));
        const auto* from = letter.tokens.as<uint16_t>();
        for (int64_t b = 0; b < n_rows; ++b) {
            auto& tokens = records[static_cast<size_t>(b)];
            for (int64_t k = 0; k < letter.steps && static_cast<int64_t>(tokens.size()) < o_.n_tokens; ++k)
                tokens.push_back(from[b * kColumns + static_cast<int64_t>(tokens.size()) % kColumns]);
        }
        letter.steps = 0;
    }

    Session& session_;
    const GenerateOptions& o_;
    Arena scratch_;
    Ctx ctx_;
    int64_t B_;
    Tensor allowed_, rows_, tokens_;  // rows: position, end, record
    Tensor host_rows_;
    std::array<Letter, 2> letters_;
};

// One batch of records, all steps in lockstep; a row that is complete goes on without being read.
class BatchRun {
  public:
    BatchRun(Session& session, const GenerateOptions& o, const LanguageModel& model)
        : session_(session), o_(o), random_(o.seed, Stream::sample), vocab_(model.vocab()),
          input_(static_cast<size_t>(session.rows())), records_(static_cast<size_t>(session.rows())),
          read_(static_cast<size_t>(session.rows())) {}

    void start(int64_t row, int64_t record, std::span<const uint16_t> prompt, const std::atomic<bool>* stop) {
        auto& tokens = records_[static_cast<size_t>(row)];
        tokens.assign(prompt.begin(), prompt.end());
        tokens.reserve(static_cast<size_t>(o_.n_tokens));
        if (tokens.empty()) tokens.push_back(first_token(record));
        // The last known token enters as a step, which gives the first logits; with pools so do those behind the last whole
        // group, because steps run the same stages for all rows.
        const auto known = static_cast<int64_t>(tokens.size()), whole = (known - 1) / session_.stride() * session_.stride();
        read_[static_cast<size_t>(row)] = whole;
        if (row > 0 && tokens == records_[0]) {
            session_.copy_row(0, row);
            return;
        }
        session_.reset(row);
        for (int64_t t = 0; t < whole; t += session_.tile()) {
            if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
            session_.read({row, 1, std::min(session_.tile(), whole - t), t, 0, tokens.data() + t});
        }
    }
    // A row without a record.
    void idle(int64_t row) { session_.reset(row); }

    // Returns false when every row is complete.
    bool step(int64_t first_record, int64_t n_rows) {
        bool open = false;
        for (int64_t b = 0; b < session_.rows(); ++b) {
            auto& tokens = records_[static_cast<size_t>(b)];
            const auto next = static_cast<size_t>(read_[static_cast<size_t>(b)]++);
            input_[static_cast<size_t>(b)] = tokens.empty() ? uint16_t{0} : tokens[std::min(next, tokens.size() - 1)];
            open |= b < n_rows && static_cast<int64_t>(tokens.size()) < o_.n_tokens;
        }
        if (!open) return false;
        const TensorRef logits = session_.step(input_.data());
        for (int64_t b = 0; b < n_rows; ++b) {
            auto& tokens = records_[static_cast<size_t>(b)];
            const auto position = static_cast<uint64_t>(tokens.size());
            if (static_cast<int64_t>(position) >= o_.n_tokens || read_[static_cast<size_t>(b)] < std::ssize(tokens)) continue;
            const double u = random_.uniform(position, static_cast<uint32_t>(first_record + b));
            tokens.push_back(sample(logits.slice(0, b, 1).reshape({vocab_}), o_.sampler, u, order_));
        }
        return true;
    }

    std::vector<std::vector<uint16_t>>& records() { return records_; }
    std::vector<int64_t>& read() { return read_; }
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
    std::vector<int64_t> read_;  // tokens of each record that were read
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
    std::optional<DeviceSteps> device;
    if (compute.device == Device::cuda) device.emplace(session, compute, o, model.vocab());
    for (int64_t k = 0; k < o.n_records; k += session.rows()) {
        const int64_t n = std::min(session.rows(), o.n_records - k);
        for (int64_t b = 0; b < n; ++b) run.start(b, k + b, prompt_of(k + b), stop);
        for (int64_t b = n; b < session.rows(); ++b) run.idle(b);
        if (device) device->run(run.records(), run.read(), k, n, stop);
        while (!device && run.step(k, n))
            if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        for (int64_t b = 0; b < n; ++b) sink(k + b, run.record(b));
    }
}

}  // namespace adder
