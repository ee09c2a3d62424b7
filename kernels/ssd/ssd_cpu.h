// The CPU twin of ssd.h in f32: SIMD, threads. Internal to the op, its tests and its benchmarks.
#pragma once
#include <cstdint>

#include "core/ctx.h"
#include "kernels/ssd/ssd_ref.h"

namespace adder::cpu {

// How forward computes: in blocks of kSsdBlock steps as matrix products, or step by step with the state in
// registers. `best` picks by shape. The two differ in rounding only.
enum class SsdForm : uint8_t { best, chunked, recurrence };

// Steps of one diagonal block of the chunked forward. Work per step and head is 2 N P for the state and P
// kSsdBlock / 2 for the block, so that short blocks win as long as the state's loads and stores are hidden.
// Divides kSsdChunk.
inline constexpr int64_t kSsdBlock = 16;

using SsdProblemF = SsdProblem<float>;
using SsdResultF = SsdResult<float>;
using SsdGradientsF = SsdGradients<float>;

// Scratch bytes depend on the sizes only. Scratch is 64-byte aligned.
int64_t ssd_forward_scratch_bytes(const SsdProblemF& a, SsdForm form = SsdForm::best);
void ssd_forward(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out, void* scratch,
                 SsdForm form = SsdForm::best);
// The two forms; the chunked one has scratch.
void ssd_forward_chunked(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out, void* scratch);
void ssd_forward_recurrence(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out);

int64_t ssd_backward_scratch_bytes(const SsdProblemF& a);
void ssd_backward(Ctx& ctx, const SsdProblemF& a, const float* chunk_states, const SsdGradientsF& g,
                  void* scratch);

// `state` (B,H,P,N) is updated in place.
void ssd_step(Ctx& ctx, const SsdProblemF& a, const View<float, 4>& state, const View<float, 3>& y);

}  // namespace adder::cpu

namespace adder {

// ssd_forward of ssd.h with a form of the f32 twin that is not its own choice, to measure and to test it.
void ssd_forward_in(Ctx& ctx, const SsdArgs& args, const SsdOut& out, cpu::SsdForm form);

}  // namespace adder
