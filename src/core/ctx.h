// Ctx: everything an op or a layer may use besides its arguments. Passed down; there are no globals.
#pragma once
#include "core/arena.h"
#include "core/device.h"
#include "core/threads.h"

namespace adder {

class OpMeter;   // kernels/common/run_op.h
class LayerTap;  // model/layer.h

struct Ctx {
    Device device = Device::cpu;
    ThreadPool* pool = nullptr;
    Arena* scratch = nullptr;
    // True while memory is being planned: layers allocate as in a run, ops check their arguments, count their scratch
    // and return. Tensors have null data then.
    bool dry_run = false;
    OpMeter* meter = nullptr;  // counts or times ops when set
    Gpu* gpu = nullptr;        // given exactly when device is cuda and this is no dry run
    LayerTap* tap = nullptr;   // sees what passes between the blocks of a backbone when set
};

// What a model computes with. Planning looks at the device and the storage type alone.
struct Compute {
    Device device = Device::cpu;
    DType storage = DType::f32;  // of activations and matrix weights: f32; beside it f64 on the CPU, bf16 on a GPU
    ThreadPool* pool = nullptr;
    Gpu* gpu = nullptr;  // given exactly when device is cuda

    DType accum() const { return accum_of(storage); }
    // To run, or with `dry_run` to plan.
    Ctx context(Arena& scratch, bool dry_run = false) const;
};

// In the order of the context's stream; nothing in a dry run. One dtype and shape, any strides.
void copy(const Ctx& ctx, const TensorRef& from, const TensorRef& to);
void fill_zero(const Ctx& ctx, const TensorRef& t);

}  // namespace adder
