#include "train/trainer.h"

#include <chrono>

namespace adder {

namespace {
bool on_gpu(const Compute& compute) { return compute.device == Device::cuda; }
}  // namespace

Trainer::Trainer(LanguageModel& model, ParamStore& params, const OptimizerOptions& options, const Compute& compute,
                 const MemoryPlan& plan, std::span<const MemoryPlan> later)
    : compute_(compute), params_(params), range_(model.vocab(), model.targets()), optimizer_(params, options),
      engine_(model, compute, plan, later), scratch_(compute.device, "scratch of the update"), ctx_(compute.context(scratch_)),
      sums_(DType::f64, {2}, compute.device) {
    ctx_.dry_run = true;
    on_gpu(compute) ? optimizer_.give(ctx_, sums_) : void(optimizer_.step(ctx_, 0, 1));
    ctx_.dry_run = false;
    scratch_.bind(scratch_.peak_bytes());
    if (on_gpu(compute)) {
        letters_ = PinnedMemory(kPlaces * static_cast<int64_t>(sizeof(Letter)), "the numbers of steps");
        for (Place& p : places_) {
            p.begin = std::make_unique<Event>();
            p.end = std::make_unique<Event>();
        }
        const auto bytes_of = [&](const MemoryPlan& p) { return BatchFeed::bytes_of(range_, p.tiles.B, p.tiles.L); };
        int64_t bytes = bytes_of(plan);
        for (const MemoryPlan& p : later) bytes = std::max(bytes, bytes_of(p));
        reserve_feed(bytes);
    }
    plan_.tiles = {0, 0, 0, 0};
    configure(plan);
}

void Trainer::configure(const MemoryPlan& plan) {
    if (plan.tiles == plan_.tiles) return;
    CHECK(pending() == 0);
    const bool first = plan_.tiles.B == 0;
    plan_ = plan;
    batch_ = {};
    if (!first) engine_.configure(plan);
    if (!on_gpu(compute_)) return void(batch_ = Batch(plan.tiles.B, plan.tiles.L));
    reserve_feed(BatchFeed::bytes_of(range_, plan.tiles.B, plan.tiles.L));
    feed_->configure(plan.tiles.B, plan.tiles.L);
}

void Trainer::reserve_feed(int64_t bytes) {
    if (feed_ && bytes <= feed_->capacity_bytes()) return;
    feed_.reset();
    BatchFeed::Memory memory;
    engine_.with_what_fits([&] {
        for (Tensor& t : memory) t = Tensor(DType::u8, {bytes}, Device::cuda, "packed batches");
    });
    feed_ = std::make_unique<BatchFeed>(*compute_.gpu, range_, std::move(memory));
}

void Trainer::set_meter(OpMeter* meter) {
    engine_.set_meter(meter);
    ctx_.meter = meter;
}

void Trainer::submit(int64_t step, int64_t accumulation, double lr, const FillBatch& fill, bool follows) {
    CHECK(pending() < kMostPending);
    on_gpu(compute_) ? submit_on_gpu(step, accumulation, lr, fill) : submit_on_cpu(step, accumulation, lr, fill);
    submitted_ += 1;
    if (feed_ && follows) feed_->prepare(step + 1, 0, fill);
}

void Trainer::submit_on_cpu(int64_t step, int64_t accumulation, double lr, const FillBatch& fill) {
    const auto begin = std::chrono::steady_clock::now();
    params_.zero_gradients(ctx_);
    sums_.zero();
    for (int64_t micro = 0; micro < accumulation; ++micro) {
        fill(step, micro, batch_);
        engine_.forward_backward(batch_, sums_);
    }
    const auto* sums = sums_.ref().ptr<double>("sums");
    StepResult& r = place(submitted_).result;
    r = {};
    r.sums = {sums[0], sums[1]};
    if (r.sums.weight != 0) {
        UpdateResult u = optimizer_.step(ctx_, lr, r.sums.weight);
        r.grad_norm = u.grad_norm;
        r.updated = u.updated;
        r.bad_gradient = std::move(u.bad_gradient);
        r.bad_parameter = std::move(u.bad_parameter);
    }
    r.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void Trainer::submit_on_gpu(int64_t step, int64_t accumulation, double lr, const FillBatch& fill) {
    Gpu& gpu = *compute_.gpu;
    CUstream_st* stream = gpu.stream();
    Place& p = place(submitted_);
    Letter& l = letter(submitted_);
    p.follows = pending() > 0;
    const PackedBatch* batch = &feed_->take(step, 0, fill);
    // Behind the wait for the upload, which is not work.
    p.begin->record(stream);
    params_.zero_gradients(ctx_);
    fill_zero(ctx_, sums_);
    for (int64_t micro = 0; micro < accumulation; ++micro) {
        if (micro > 0) batch = &feed_->take(step, micro, fill);
        engine_.forward_backward(*batch, sums_);
        feed_->done();
        if (micro + 1 < accumulation) feed_->prepare(step, micro + 1, fill);
    }
    l.lr = lr;
    static_assert(offsetof(UpdateState, lr) == 0);
    copy_async(optimizer_.state().data, &l.lr, sizeof l.lr, stream);
    graphs_.run(ctx_, {}, [&] { optimizer_.give(ctx_, sums_); });
    copy_async(&l.record, optimizer_.record().data, sizeof l.record, stream);
    copy_async(&l.fault, gpu.fault_word(), sizeof l.fault, stream);
    p.end->record(stream);
}

StepResult Trainer::collect() {
    CHECK(pending() > 0);
    Place& p = place(collected_);
    if (!on_gpu(compute_)) {
        collected_ += 1;
        return std::move(p.result);
    }
    p.end->synchronize();
    const Letter& l = letter(collected_);
    if (l.fault.fault != Fault::none) throw DeviceError(describe(l.fault));
    UpdateResult u = optimizer_.result_of(l.record);
    StepResult r{{l.record.loss, l.record.weight}, u.grad_norm, u.updated, std::move(u.bad_gradient),
                 std::move(u.bad_parameter)};
    r.ms = p.end->ms_since(*p.begin);
    if (p.follows) r.idle_ms = p.begin->ms_since(*place(collected_ + kPlaces - 1).end);
    collected_ += 1;
    return r;
}

}  // namespace adder
