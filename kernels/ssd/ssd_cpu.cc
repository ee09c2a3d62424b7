#include "kernels/ssd/ssd_cpu.h"

#include "kernels/ssd/ssd_plan.h"

namespace adder::cpu {

namespace {

// Below this many channels per head a panel of the chunked form is mostly padding; measured at N 16 to 256.
constexpr int64_t kChunkedFrom = 16;

bool chunked(const SsdProblemF& a, SsdForm form) {
    return form == SsdForm::chunked || (form == SsdForm::best && a.P >= kChunkedFrom);
}

}  // namespace

int64_t ssd_forward_scratch_bytes(const SsdProblemF& a, SsdForm form) {
    return chunked(a, form) ? SsdForwardPlan(a).total_floats(a) * size_of(DType::f32) : 0;
}

void ssd_forward(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out, void* scratch, SsdForm form) {
    if (chunked(a, form))
        ssd_forward_chunked(ctx, a, out, scratch);
    else
        ssd_forward_recurrence(ctx, a, out);
}

int64_t ssd_backward_scratch_bytes(const SsdProblemF& a) {
    return SsdBackwardPlan(a).bytes(a);
}

}  // namespace adder::cpu
