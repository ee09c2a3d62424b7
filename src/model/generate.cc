#include "model/generate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "core/rng.h"
#include "core/with_room.h"
#include "model/session.h"
#include "model/tile_engine.h"

namespace adder {

namespace {

constexpr int64_t kPiece = 256;  // tokens of a row that are given away at a time

// A record that is being made. Of its tokens only those are here that the model has not read, or nobody has received.
struct Row {
    int64_t record = 0;
    int64_t known = 0;             // tokens of the prompt and those drawn; 0 = a row without a record
    std::vector<uint16_t> unread;  // the last known ones, in order; one at least
    std::vector<uint16_t> fresh;   // the last drawn ones, in order
};

void throw_if(const std::atomic<bool>* stop) {
    if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
}

void give(Row& row, const PieceSink& sink) {
    if (!row.fresh.empty()) sink(row.record, row.known - std::ssize(row.fresh), row.fresh);
    row.fresh.clear();
}

// Drawing on a GPU: a recorded step reads the last tokens, computes, and draws the next ones; what changes from step to
// step lives on the device, and tokens come back many at a time, while the device goes on.
class DeviceSteps {
  public:
    DeviceSteps(Session& session, const Compute& compute, const GenerateOptions& o, int64_t V)
        : session_(session), o_(o), scratch_(Device::cuda, "scratch of sampling"), ctx_(compute.context(scratch_, true)),
          B_(session.rows()),
          allowed_(DType::u8, {std::ssize(o.sampler.allowed) / V, V}, Device::cuda, "the allowed tokens"),
          rows_(DType::i64, {3, B_}, Device::cuda, "the places of the rows"),
          tokens_(DType::u16, {B_, kPiece}, Device::cuda, "drawn tokens"),
          host_rows_(DType::i64, {3, B_}) {
        copy_bytes(allowed_.ref().data, o.sampler.allowed.data(), std::ssize(o.sampler.allowed));
        draw();
        ctx_ = compute.context(scratch_);
        scratch_.bind(scratch_.peak_bytes());
        for (Letter& l : letters_)
            l.tokens =
                PinnedMemory(tokens_.ref().bytes() + static_cast<int64_t>(sizeof(FaultWord)), "drawn tokens");
    }

    // Completes the records.
    void run(std::vector<Row>& rows, const PieceSink& sink, const std::atomic<bool>* stop) {
        while (read_known(rows)) throw_if(stop);
        for (Row& row : rows) give(row, sink);
        begin(rows);
        int64_t steps = 0;
        for (const Row& row : rows)
            if (row.known > 0) steps = std::max(steps, o_.n_tokens - row.known);
        int64_t given = 0;
        for (size_t i = 0; given < steps; i = 1 - i) {
            throw_if(stop);
            const int64_t n = std::min(kPiece, steps - given);
            for (int64_t k = 0; k < n;) {
                const int64_t count = n - k >= kRecordedSteps ? kRecordedSteps : 1;
                session_.steps_and(count, [&] { draw(); });
                k += count;
            }
            given += n;
            send(letters_[i], n);
            receive(letters_[1 - i], rows, sink);
            if (given == steps) receive(letters_[i], rows, sink);
        }
    }

  private:
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

    // Says which rows draw: those without a record, or not `drawing`, do not.
    void set_rows(const std::vector<Row>& rows, const std::vector<bool>& drawing) {
        auto* at = host_rows_.ref().ptr<int64_t>("rows");
        for (int64_t b = 0; b < B_; ++b) {
            const Row& row = rows[static_cast<size_t>(b)];
            at[b] = row.known;
            at[B_ + b] = drawing[static_cast<size_t>(b)] ? o_.n_tokens : 0;
            at[2 * B_ + b] = row.record;
        }
        copy(host_rows_, rows_);
    }

    // One step of all rows where one still has more than its last token to read. Others draw meanwhile.
    bool read_known(std::vector<Row>& rows) {
        std::vector<uint16_t> ids(rows.size());
        std::vector<bool> drawing(rows.size());
        bool behind = false;
        for (size_t b = 0; b < rows.size(); ++b) {
            behind |= rows[b].unread.size() > 1;
            drawing[b] = rows[b].unread.size() == 1 && rows[b].known > 0 && rows[b].known < o_.n_tokens;
            ids[b] = rows[b].unread.front();
        }
        if (!behind) return false;
        session_.step(ids.data());
        set_rows(rows, drawing);
        draw();
        const HostCopy drawn(session_.step_ids());
        for (size_t b = 0; b < rows.size(); ++b) {
            Row& row = rows[b];
            if (drawing[b]) row.fresh.push_back(row.unread[0] = drawn.ref().ptr<uint16_t>("ids")[b]);
            row.known += drawing[b];
            if (row.unread.size() > 1) row.unread.erase(row.unread.begin());
        }
        return true;
    }

    void begin(const std::vector<Row>& rows) {
        std::vector<uint16_t> last(rows.size());
        std::vector<bool> drawing(rows.size());
        for (size_t b = 0; b < rows.size(); ++b) {
            last[b] = rows[b].unread.back();
            drawing[b] = rows[b].known > 0;
        }
        set_rows(rows, drawing);
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

    void receive(Letter& letter, std::vector<Row>& rows, const PieceSink& sink) {
        if (letter.steps == 0) return;
        letter.done.synchronize();
        FaultWord fault;
        std::memcpy(&fault, letter.tokens.as<char>() + tokens_.ref().bytes(), sizeof fault);
        if (fault.fault != Fault::none) throw DeviceError(describe(fault));
        const auto* from = letter.tokens.as<uint16_t>();
        for (int64_t b = 0; b < B_; ++b) {
            Row& row = rows[static_cast<size_t>(b)];
            if (row.known == 0) continue;
            for (int64_t k = 0; k < letter.steps && row.known < o_.n_tokens; ++k)
                row.fresh.push_back(from[b * kPiece + row.known++ % kPiece]);
            give(row, sink);
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

// All that grows with the rows.
struct RowMemory {
    RowMemory(LanguageModel& model, const Compute& compute, const GenerateOptions& o, int64_t rows)
        : session(model, compute, rows, o.tile) {
        if (compute.device == Device::cuda) device.emplace(session, compute, o, model.vocab());
    }
    Session session;
    std::optional<DeviceSteps> device;
};

// One batch of records, all steps in lockstep; a row that is complete goes on without being read.
class BatchRun {
  public:
    BatchRun(Session& session, const GenerateOptions& o, const LanguageModel& model)
        : session_(session), o_(o), random_(o.seed, Stream::sample), vocab_(model.vocab()),
          input_(static_cast<size_t>(session.rows())), rows_(static_cast<size_t>(session.rows())) {}

    // Row b becomes record first + b.
    void start(int64_t first, int64_t n, const PromptOf& prompt_of, const PieceSink& sink, const std::atomic<bool>* stop) {
        const std::span<const uint16_t> prompt_of_row_0 = prompt_of(first);
        for (int64_t b = 0; b < session_.rows(); ++b) {
            Row& row = rows_[static_cast<size_t>(b)];
            row = {first + b, 0, {0}, {}};
            if (b >= n) {
                session_.reset(b);
                continue;
            }
            const std::span<const uint16_t> prompt = prompt_of(row.record);
            if (prompt.empty()) {
                row = {row.record, 1, {first_token(row.record)}, {}};
                session_.reset(b);
                sink(row.record, 0, row.unread);
                continue;
            }
            const int64_t whole = whole_part(prompt);
            row.known = std::ssize(prompt);
            row.unread.assign(prompt.begin() + whole, prompt.end());
            if (b > 0 && std::equal(prompt.begin(), prompt.end(), prompt_of_row_0.begin(), prompt_of_row_0.end()))
                session_.copy_row(0, b);
            else
                read_prompt(b, prompt.first(static_cast<size_t>(whole)), stop);
            sink(row.record, 0, prompt);
        }
    }

    // Completes the records.
    void run(const PieceSink& sink, const std::atomic<bool>* stop) {
        while (step()) {
            throw_if(stop);
            for (Row& row : rows_)
                if (std::ssize(row.fresh) >= kPiece) give(row, sink);
        }
        for (Row& row : rows_) give(row, sink);
    }

    std::vector<Row>& rows() { return rows_; }

  private:
    // The last known token enters as a step, which gives the first logits; with pools so do those behind the last whole
    // group, because steps run the same stages for all rows.
    int64_t whole_part(std::span<const uint16_t> prompt) const {
        return (std::ssize(prompt) - 1) / session_.stride() * session_.stride();
    }

    void read_prompt(int64_t row, std::span<const uint16_t> whole, const std::atomic<bool>* stop) {
        session_.reset(row);
        for (int64_t t = 0; t < std::ssize(whole); t += session_.tile()) {
            throw_if(stop);
            session_.read({row, 1, std::min(session_.tile(), std::ssize(whole) - t), t, 0, whole.data() + t});
        }
    }

    // Returns false when every row is complete.
    bool step() {
        bool open = false;
        for (size_t b = 0; b < rows_.size(); ++b) {
            input_[b] = rows_[b].unread.front();
            open |= rows_[b].known > 0 && rows_[b].known < o_.n_tokens;
        }
        if (!open) return false;
        const TensorRef logits = session_.step(input_.data());
        for (size_t b = 0; b < rows_.size(); ++b) {
            Row& row = rows_[b];
            if (row.unread.size() > 1) {
                row.unread.erase(row.unread.begin());
                continue;
            }
            if (row.known == 0 || row.known >= o_.n_tokens) continue;
            const double u = random_.uniform(static_cast<uint64_t>(row.known), static_cast<uint32_t>(row.record));
            const TensorRef own = logits.slice(0, static_cast<int64_t>(b), 1).reshape({vocab_});
            row.unread[0] = sample(own, o_.sampler, row.known++, u, order_);
            row.fresh.push_back(row.unread[0]);
        }
        return true;
    }

    uint16_t first_token(int64_t record) const {
        const std::span<const uint8_t> allowed(o_.sampler.allowed.data(), static_cast<size_t>(vocab_));
        uint64_t skip = random_.below(static_cast<uint64_t>(std::count(allowed.begin(), allowed.end(), 1)), 0,
                                      static_cast<uint32_t>(record));
        for (size_t id = 0; id < allowed.size(); ++id)
            if (allowed[id] && skip-- == 0) return static_cast<uint16_t>(id);
        CHECK(false);
        return 0;
    }

    Session& session_;
    const GenerateOptions& o_;
    Philox random_;
    int64_t vocab_;
    std::vector<uint16_t> input_, order_;
    std::vector<Row> rows_;
};

void check(const GenerateOptions& o, int64_t V, const PromptOf& prompt_of) {
    check(o.sampler, V);
    if (o.n_records < 1 || o.n_records > (int64_t{1} << 32))
        fail("[generate] {} records: expected 1 to 2^32", o.n_records);
    for (int64_t k = 0; k < o.n_records; ++k)
        if (const auto n = static_cast<int64_t>(prompt_of(k).size()); n > o.n_tokens)
            fail("[generate] the prompt has {} tokens, the whole record only {}; hint: a larger --tokens", n, o.n_tokens);
    if (o.n_tokens < 1) fail("[generate] {} tokens: expected at least 1", o.n_tokens);
}

}  // namespace

void generate_pieces(LanguageModel& model, const Compute& compute, const GenerateOptions& o, const PromptOf& prompt_of,
                     const PieceSink& sink, const std::atomic<bool>* stop) {
    check(o, model.vocab(), prompt_of);
    const int64_t most = std::min(o.batch, o.n_records);
    const auto memory = make_with_room("--batch", most, most, [&](int64_t rows) {
        return std::make_unique<RowMemory>(model, compute, o, rows);
    });
    Session& session = memory->session;
    std::optional<DeviceSteps>& device = memory->device;
    BatchRun run(session, o, model);
    for (int64_t k = 0; k < o.n_records; k += session.rows()) {
        run.start(k, std::min(session.rows(), o.n_records - k), prompt_of, sink, stop);
        device ? device->run(run.rows(), sink, stop) : run.run(sink, stop);
    }
}

void generate(LanguageModel& model, const Compute& compute, const GenerateOptions& o, const PromptOf& prompt_of,
              const RecordSink& sink, const std::atomic<bool>* stop) {
    // Records of the present batch, of which the first has the number `first`.
    std::vector<std::vector<uint16_t>> records;
    int64_t first = 0;
    const auto whole = [&](const std::vector<uint16_t>& r) { return std::ssize(r) == o.n_tokens; };
    generate_pieces(
        model, compute, o, prompt_of,
        [&](int64_t k, int64_t at, std::span<const uint16_t> tokens) {
            const auto i = static_cast<size_t>(k - first);
            if (i >= records.size()) records.resize(i + 1);
            CHECK(at == std::ssize(records[i]));
            records[i].insert(records[i].end(), tokens.begin(), tokens.end());
            // All but the last of a batch may still wait for one before them.
            size_t n = 0;
            for (; n < records.size() && whole(records[n]); ++n) sink(first + static_cast<int64_t>(n), records[n]);
            records.erase(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(n));
            first += static_cast<int64_t>(n);
        },
        stop);
    CHECK(records.empty());
}

}  // namespace adder
