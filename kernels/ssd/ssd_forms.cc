// Both forms of the forward pass, for `bench`: the public op picks one by shape.
#include "kernels/common/run_op.h"
#include "kernels/ssd/ssd_cases.h"
#include "kernels/ssd/ssd_cpu.h"

namespace adder {

namespace {

void forward_as(Ctx& ctx, const SsdCases::Case& c, TensorBag& a, cpu::SsdForm form) {
    cpu::SsdProblemF p;
    p.B = c.B, p.L = c.L, p.H = c.H, p.P = c.P, p.N = c.N, p.G = c.G, p.zoh = c.zoh;
    p.x = a["x"].as<const float, 3>("x");
    p.dt_raw = a["dt_raw"].as<const float, 3>("dt_raw");
    p.Bm = a["B"].as<const float, 3>("B");
    p.C = a["C"].as<const float, 3>("C");
    p.A_log = a["A_log"].ptr<const float>("A_log");
    p.D = a["D"].ptr<const float>("D");
    p.dt_bias = a["dt_bias"].ptr<const float>("dt_bias");
    p.start = a["start"].as<const uint8_t, 2>("start");
    p.h0 = a["h0"].as<const float, 4>("h0");
    const cpu::SsdResultF out{a["y"].as<float, 3>("y"), a["hT"].as<float, 4>("hT"),
                              a["chunk_states"].ptr<float>("chunk_states")};
    run_op(ctx, {"ssd_forward", {c.B, c.L, c.H, c.P, c.N}, {}}, cpu::ssd_forward_scratch_bytes(p, form),
           [p, out, form](Ctx& run, void* scratch) { cpu::ssd_forward(run, p, out, scratch, form); });
}

}  // namespace

std::vector<OpForm> SsdCases::forms(const Case& c) {
    auto form = [&](const char* name, cpu::SsdForm f) {
        return OpForm{name, [c, f](Ctx& ctx, TensorBag& a) { forward_as(ctx, c, a, f); }};
    };
    return {form("chunked", cpu::SsdForm::chunked), form("recurrence", cpu::SsdForm::recurrence)};
}

}  // namespace adder
