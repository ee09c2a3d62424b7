// The one door through which every op runs: scratch memory, planning, counting and profiling happen here.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>

#include "core/ctx.h"

namespace adder {

// Bytes that must move at least once and floating-point operations of one call: what `bench` and `plan` divide by.
struct OpCost {
    int64_t bytes = 0;
    int64_t flops = 0;
};

struct OpCall {
    const char* name;      // "scan_forward"
    int64_t dims[5] = {};  // the sizes that decide the time, for example B, L, D, N
    OpCost cost;
};

// Receives every op of a run. `rerun` repeats the call on the same arguments with scratch of its own; it stays valid as
// long as the arenas that the arguments live in.
class OpMeter {
  public:
    virtual ~OpMeter() = default;
    virtual void planned(const OpCall& call) = 0;
    // Before the op has touched its scratch.
    virtual void begins(const OpCall&, void* /*scratch*/, int64_t /*scratch_bytes*/) {}
    virtual void ran(const OpCall& call, double seconds, int64_t scratch_bytes,
                     std::function<void(Ctx&, void* scratch)> rerun) = 0;
};

// Seconds that f() takes: on a GPU those between two events around what it gives to the stream, which it waits for.
template <class F>
double seconds_of(const Ctx& ctx, F f) {
    if (ctx.device == Device::cuda) {
        Event begin, end;
        begin.record(ctx.gpu->stream());
        f();
        end.record(ctx.gpu->stream());
        end.synchronize();
        return 1e-3 * end.ms_since(begin);
    }
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    return took.count();
}

// `run(ctx, scratch)` does the work; `scratch` points at `scratch_bytes` bytes, 64-byte aligned (on a GPU 256-byte),
// contents undefined.
template <class Run>
void run_op(Ctx& ctx, const OpCall& call, int64_t scratch_bytes, Run run) {
    ArenaScope scope(*ctx.scratch);
    void* scratch = scratch_bytes > 0 ? ctx.scratch->alloc(DType::u8, {scratch_bytes}).data : nullptr;
    if (ctx.dry_run) {
        if (ctx.meter) ctx.meter->planned(call);
        return;
    }
    if (!ctx.meter) return run(ctx, scratch);
    ctx.meter->begins(call, scratch, scratch_bytes);
    const double seconds = seconds_of(ctx, [&] { run(ctx, scratch); });
    ctx.meter->ran(call, seconds, scratch_bytes, run);
}

}  // namespace adder
