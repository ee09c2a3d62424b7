#include "model/session.h"

#include <cstring>

namespace adder {

Session::Session(LanguageModel& model, const Compute& compute, int64_t B, int64_t T)
    : model_(model), compute_(compute), B_(B), T_(T), scratch_(compute.device, "scratch"),
      ctx_(compute.context(scratch_)), state_(model.backbone().state_spec(B), compute.accum(), 1, compute.device),
      logits_(compute.accum(), {B, 1, model.vocab()}, compute.device), step_ids_(DType::u16, {B, 1}, compute.device),
      sums_(DType::f64, {2}, compute.device) {
    ctx_.dry_run = true;
    const uint8_t flag = 0;
    const uint16_t token = 0;
    const float weight = 0;
    double nats = 0;
    run_tile(0, &token, &token, &weight, &flag, T, kPlanningPosition, &nats);
    step(nullptr);
    ctx_.dry_run = false;
    scratch_.bind(scratch_.peak_bytes());
}

void Session::reset(int64_t row) {
    for (const TensorRef& slot : state_row(state_[0], row, row_slots_)) fill_zero(ctx_, slot);
}

void Session::copy_row(int64_t from, int64_t to) {
    const State a = state_row(state_[0], from, row_slots_), b = state_row(state_[0], to, other_slots_);
    for (size_t i = 0; i < a.size(); ++i) copy(ctx_, a[i], b[i]);
}

void Session::run_tile(int64_t row, const uint16_t* ids, const uint16_t* targets, const float* weights,
                       const uint8_t* start, int64_t n, int64_t t0, double* nats) {
    ArenaScope scope(scratch_);
    auto wrap = [&](const void* p, DType dtype) {
        return p ? TensorRef(const_cast<void*>(p), dtype, {1, n}) : TensorRef{};
    };
    const int64_t M = model_.config().d_model;
    const Tile tile{{1, n}, t0, wrap(start, DType::u8)};
    const State state = state_row(state_[0], row, row_slots_);
    const TensorRef x = scratch_.alloc(compute_.storage, {1, n, M});
    const TensorRef y = nats ? scratch_.alloc(compute_.storage, {1, n, M}) : TensorRef{};
    model_.embed(ctx_, wrap(ids, DType::u16), x);
    model_.backbone().forward(ctx_, tile, x, y, state, state, nullptr);
    if (!nats) return;
    model_.loss(ctx_, y, {wrap(targets, DType::u16), wrap(weights, DType::f32), t0}, {sums_, wrap(nats, DType::f64), {}});
}

void Session::read(int64_t row, const uint16_t* ids, const uint8_t* start, int64_t n, int64_t t0) {
    CHECK(n >= 1 && n <= T_);
    run_tile(row, ids, nullptr, nullptr, start, n, t0, nullptr);
}

void Session::score(int64_t row, const uint16_t* ids, const uint16_t* targets, const float* weights,
                    const uint8_t* start, int64_t n, int64_t t0, double* nats) {
    CHECK(n >= 1 && n <= T_);
    run_tile(row, ids, targets, weights, start, n, t0, nats);
}

TensorRef Session::step(const uint16_t* ids) {
    ArenaScope scope(scratch_);
    const Shape shape{B_, 1, model_.config().d_model};
    const TensorRef x = scratch_.alloc(compute_.storage, shape), y = scratch_.alloc(compute_.storage, shape);
    if (ids) std::memcpy(step_ids_.ref().data, ids, static_cast<size_t>(step_ids_.ref().bytes()));
    model_.embed(ctx_, step_ids_, x);
    model_.backbone().step(ctx_, x, y, state_[0]);
    model_.logits_step(ctx_, y, logits_);
    return logits_.ref().reshape({B_, model_.vocab()});
}

}  // namespace adder
