#include "kernels/adamw/adamw.h"

#include <cmath>
#include <cstring>

#include "core/ceil_div.h"
#include "kernels/adamw/adamw_cpu.h"
#include "kernels/adamw/adamw_cuda.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"

namespace adder {

namespace {

// The name is put together only for the error: nothing is allocated in a step.
void check_tensor(const char* name, size_t index, const TensorRef& t, DType dtype, const Shape& shape) {
    if (t.dtype == dtype && t.shape == shape && t.contiguous()) return;
    fail("[adamw] {}[{}]: expected a contiguous {} {}, got {}{}", name, index, name_of(dtype),
         to_string(shape), describe(t), t && !t.contiguous() ? ", not contiguous" : "");
}

struct Total {
    int64_t elements = 0, bytes_moved = 0;
};

Total check_tensors(std::span<const AdamWTensor> tensors, DType S, Device device) {
    Total total;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const AdamWTensor& t = tensors[i];
        const Shape& shape = t.param.shape;
        check_tensor("param", i, t.param, S, shape);
        check_tensor("grad", i, t.grad, S, shape);
        check_tensor("m", i, t.m, S, shape);
        check_tensor("v", i, t.v, S, shape);
        if (t.copy && device == Device::cpu) fail("[adamw] copy[{}]: bf16 storage needs --device cuda", i);
        if (t.copy) check_tensor("copy", i, t.copy, DType::bf16, shape);
        total.elements += shape.numel();
        total.bytes_moved += shape.numel() * (size_of(S) * 7 + size_of(t.copy.dtype));
    }
    return total;
}

void expect_place(const char* op, const char* name, const TensorRef& t, int64_t bytes) {
    expect(op, name, t, DType::u8, {bytes});
    if (t.device != Device::cuda) fail("[{}] {}: expected on cuda, is on {}", op, name, name_of(t.device));
}

}  // namespace

void adamw(Ctx& ctx, std::span<const AdamWTensor> tensors, const AdamWArgs& args) {
    if (args.step < 1) fail("[adamw] step: expected 1 or more, got {}", args.step);
    if (tensors.empty()) return;
    const bool cuda = ctx.device == Device::cuda;
    const DType storage = storage_of(ctx, "adamw", "param[0]", tensors[0].param), S = accum_of(storage);
    const Total total = check_tensors(tensors, S, ctx.device);
    const OpCall call{"adamw",
                      {total.elements, static_cast<int64_t>(tensors.size())},
                      {total.bytes_moved, total.elements * 14}};
    run_op(ctx, call, cuda ? cuda::adamw_layout(tensors).bytes() : 0, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) {
            const std::vector<std::byte> table = cuda::adamw_table(tensors);
            copy_async(scratch, table.data(), static_cast<int64_t>(table.size()), c.gpu->stream());
            return cuda::adamw(c, {scratch, cuda::adamw_layout(tensors), cuda::update_of(args), nullptr, nullptr}, args);
        }
        if (S == DType::f64) return cpu::adamw<double>(*c.pool, tensors, args);
        cpu::adamw<float>(*c.pool, tensors, args);
    });
}

namespace cuda {

AdamWLayout adamw_layout(std::span<const AdamWTensor> tensors) {
    AdamWLayout layout;
    layout.tensors = static_cast<int64_t>(tensors.size());
    for (const AdamWTensor& t : tensors) layout.pieces += ceil_div(t.param.numel(), kPieceElements);
    return layout;
}

std::vector<std::byte> adamw_table(std::span<const AdamWTensor> tensors) {
    const AdamWLayout layout = adamw_layout(tensors);
    std::vector<AdamWPlace> list;
    for (const AdamWTensor& t : tensors) {
        const auto aligned = [](const TensorRef& to, uintptr_t bytes) {
            return reinterpret_cast<uintptr_t>(to.data) % bytes == 0;
        };
        AdamWPlace p{};
        p.param = static_cast<float*>(t.param.data);
        p.m = static_cast<float*>(t.m.data);
        p.v = static_cast<float*>(t.v.data);
        p.grad = static_cast<const float*>(t.grad.data);
        p.copy = static_cast<bf16*>(t.copy.data);
        p.n = t.param.numel();
        p.decay = t.decay;
        p.rate = static_cast<float>(t.rate);
        p.aligned = aligned(t.param, 16) && aligned(t.m, 16) && aligned(t.v, 16) && aligned(t.grad, 16) && aligned(t.copy, 8);
        list.push_back(p);
    }
    const std::vector<Piece> pieces =
        pieces_of(layout.tensors, [&](int64_t i) { return tensors[static_cast<size_t>(i)].param.numel(); });
    std::vector<std::byte> table(static_cast<size_t>(layout.bytes()));
    if (table.empty()) return table;
    std::memcpy(table.data(), list.data(), list.size() * sizeof(AdamWPlace));
    std::memcpy(table.data() + layout.pieces_at(), pieces.data(), pieces.size() * sizeof(Piece));
    return table;
}

UpdateState update_of(const AdamWArgs& args) {
    const auto n = static_cast<double>(args.step);
    UpdateState s;
    s.lr = args.lr;
    s.updates = args.step;
    s.grad_scale = static_cast<float>(args.grad_scale);
    s.rate = static_cast<float>(args.lr / (1 - std::pow(args.beta1, n)));
    s.pull = static_cast<float>(args.lr * args.weight_decay);
    s.unbias2 = static_cast<float>(1 / (1 - std::pow(args.beta2, n)));
    s.skip = 0;
    return s;
}

}  // namespace cuda

AdamWTable::AdamWTable(std::span<const AdamWTensor> tensors) {
    for (const AdamWTensor& t : tensors)
        if (t.param.device != Device::cuda) fail("[adamw] param: expected on cuda, is on {}", name_of(t.param.device));
    const Total total = check_tensors(tensors, DType::f32, Device::cuda);
    const cuda::AdamWLayout layout = cuda::adamw_layout(tensors);
    table_ = Tensor(DType::u8, {layout.bytes()}, Device::cuda, "the list of parameters");
    const std::vector<std::byte> bytes = cuda::adamw_table(tensors);
    copy_bytes(table_.ref().data, bytes.data(), static_cast<int64_t>(bytes.size()));
    tensors_ = layout.tensors;
    pieces_ = layout.pieces;
    elements_ = total.elements;
    bytes_moved_ = total.bytes_moved;
}

void begin_update(Ctx& ctx, const AdamWArgs& args, double clip, const UpdateTensors& at) {
    const char* op = "begin_update";
    expect(op, "sums", at.sums, DType::f64, {2});
    expect_place(op, "norm", at.norm, static_cast<int64_t>(sizeof(GradNorm)));
    expect_place(op, "state", at.state, static_cast<int64_t>(sizeof(UpdateState)));
    expect_place(op, "record", at.record, static_cast<int64_t>(sizeof(UpdateRecord)));
    run_op(ctx, {op, {}, {static_cast<int64_t>(sizeof(UpdateState) + sizeof(UpdateRecord)), 0}}, 0, [=](Ctx& c, void*) {
        cuda::begin_update(c, args, clip,
                           {static_cast<const double*>(at.sums.data), static_cast<const GradNorm*>(at.norm.data),
                            static_cast<UpdateState*>(at.state.data), static_cast<UpdateRecord*>(at.record.data)});
    });
}

void adamw(Ctx& ctx, const AdamWTable& table, const AdamWArgs& args, const TensorRef& state, const TensorRef& record) {
    expect_place("adamw", "state", state, static_cast<int64_t>(sizeof(UpdateState)));
    expect_place("adamw", "record", record, static_cast<int64_t>(sizeof(UpdateRecord)));
    const OpCall call{"adamw", {table.elements(), table.tensors()}, {table.bytes_moved(), table.elements() * 14}};
    const cuda::AdamWCall update{table.data(), {table.tensors(), table.pieces()}, {},
                                 static_cast<const UpdateState*>(state.data), static_cast<UpdateRecord*>(record.data)};
    run_op(ctx, call, 0, [=](Ctx& c, void*) { cuda::adamw(c, update, args); });
}

}  // namespace adder
