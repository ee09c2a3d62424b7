// Gradients by weight and bias: sums over all rows, which are cut in slices by shape alone. Slices become products of one
// batch into f32 partial sums, which a kernel of ours adds in order; where one product fills the GPU by itself, slices
// follow one another straight into d_weight.
//
// Workspace: cuBLASLt's; partial sums of at most kMostPartialBytes, reused by group after group of slices; partial sums
// of d_bias for every kBiasRows rows.
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/gemm/gemm_plan.h"
#include "kernels/gemm/product.cuh"

namespace adder::cuda {

namespace {

// ---- sums of partial sums ----

constexpr int kSegments = 8;

// to[i] += sum of partial[0..count)[i].
// Mapping: block = 32 x V elements, 8 warps; warp s adds the partial sums of the s-th eighth in order, then warp 0 adds the
// eighths in order. Moves (count + 2) n 4 bytes. Needs alignment to V floats and n % V = 0.
template <int V>
__global__ void __launch_bounds__(kSegments* kWarp) add_partials_kernel(const float* partial, int count, int64_t n,
                                                                        float* to) {
    __shared__ float room[kSegments][kWarp][V];
    const int lane = threadIdx.x % kWarp, segment = threadIdx.x / kWarp;
    const int64_t i = (static_cast<int64_t>(blockIdx.x) * kWarp + lane) * V;
    const int each = (count + kSegments - 1) / kSegments;
    const int begin = min(segment * each, count), end = min(begin + each, count);
    float sum[V] = {};
    if (i < n) {
#pragma unroll 8
        for (int g = begin; g < end; ++g) {
            float value[V];
            load<V>(partial + g * n + i, value);
#pragma unroll
            for (int v = 0; v < V; ++v) sum[v] += value[v];
        }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) room[segment][lane][v] = sum[v];
    __syncthreads();
    if (segment > 0 || i >= n) return;
    for (int s = 1; s < kSegments; ++s)
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += room[s][lane][v];
    float old[V];
    load<V>(to + i, old);
#pragma unroll
    for (int v = 0; v < V; ++v) old[v] += sum[v];
    store<V>(to + i, old);
}

void add_partials(cudaStream_t stream, const float* partial, int64_t count, int64_t n, float* to) {
    if (count == 0) return;
    const bool wide = n % 4 == 0 && reinterpret_cast<uintptr_t>(to) % 16 == 0;
    const dim3 grid(blocks(ceil_div(n, kWarp * (wide ? 4 : 1))));
    launch(stream, grid, kSegments * kWarp, 0, wide ? add_partials_kernel<4> : add_partials_kernel<1>, partial,
           static_cast<int>(count), n, to);
}

// ---- d_bias ----

// partial[slice][o] = sum of d_y over the slice's rows.
// Mapping: block = 32 columns of one slice, 8 warps; warp s adds rows s, s + 8, ... in order, then warp 0 adds the eight
// sums in order. Moves B L O elements.
template <class T>
__global__ void __launch_bounds__(kSegments* kWarp) bias_kernel(View<const T, 3> d_y, float* partial, int column_tiles) {
    __shared__ float room[kSegments][kWarp];
    const int lane = threadIdx.x % kWarp, segment = threadIdx.x / kWarp;
    const int64_t slice = blockIdx.x / column_tiles, o = blockIdx.x % column_tiles * int64_t{kWarp} + lane;
    const int64_t L = d_y.shape[1], O = d_y.shape[2], first = slice * kBiasRows;
    const int rows = static_cast<int>(min(d_y.shape[0] * L - first, static_cast<int64_t>(kBiasRows)));
    float sum = 0;
    if (o < O) {
        int64_t b = first / L, t = first % L + segment;
        for (int r = segment; r < rows; r += kSegments, t += kSegments) {
            for (; t >= L; t -= L) ++b;
            sum += to_float(d_y(b, t, o));
        }
    }
    room[segment][lane] = sum;
    __syncthreads();
    if (segment > 0 || o >= O) return;
    for (int s = 1; s < kSegments; ++s) sum += room[s][lane];
    partial[slice * O + o] = sum;
}

void backward_bias(cudaStream_t stream, const TensorRef& d_y, const TensorRef& d_bias, float* partial) {
    const int64_t slices = ceil_div(d_y.size(0) * d_y.size(1), kBiasRows), O = d_y.size(2);
    const int64_t column_tiles = ceil_div(O, kWarp);
    const dim3 grid(blocks(slices * column_tiles));
    if (d_y.dtype == DType::f32)
        launch(stream, grid, kSegments * kWarp, 0, bias_kernel<float>, d_y.as<const float, 3>("d_y"), partial,
               static_cast<int>(column_tiles));
    else
        launch(stream, grid, kSegments * kWarp, 0, bias_kernel<bf16>, d_y.as<const bf16, 3>("d_y"), partial,
               static_cast<int>(column_tiles));
    add_partials(stream, partial, slices, O, d_bias.ptr<float>("d_bias"));
}

// ---- d_weight ----

// Goes through the slices in order, as many at a time as there is room for partial sums.
class WeightSum {
  public:
    WeightSum(Ctx& ctx, DType storage, float* d_weight, const SlicePlan& plan, char* scratch)
        : ctx_(ctx), storage_(storage), d_weight_(d_weight), plan_(plan), scratch_(scratch),
          partial_(reinterpret_cast<float*>(scratch + kProductWorkspaceBytes)) {}

    void run() {
        for (int64_t b = 0; b < plan_.rows.batch; ++b) {
            const int64_t whole = plan_.rows.rows / plan_.slice, rest = plan_.rows.rows % plan_.slice;
            for (int64_t done = 0; done < whole;) {
                const int64_t room = plan_.partials == 0 ? 1 : plan_.partials - used_;
                const int64_t count = std::min(whole - done, room);
                slices(b, done * plan_.slice, count, plan_.slice);
                done += count;
            }
            if (rest > 0) slices(b, whole * plan_.slice, 1, rest);
        }
        flush();
    }

  private:
    // `count` slices of `rows` rows, from row `first` of member b.
    void slices(int64_t b, int64_t first, int64_t count, int64_t rows) {
        const auto at = [&](const Rows& r) {
            return static_cast<const char*>(r.data) + (b * r.member_stride + first * r.stride) * size_of(storage_);
        };
        const Rows &x = plan_.rows.x, &d_y = plan_.rows.y;
        Product p;
        p.in = storage_;
        p.out = DType::f32;
        p.M = plan_.O;
        p.N = plan_.I;
        p.K = rows;
        p.batch = count;
        p.a = {at(d_y), d_y.stride, true, rows * d_y.stride};
        p.b = {at(x), x.stride, false, rows * x.stride};
        p.c = plan_.partials == 0 ? d_weight_ : partial_ + used_ * plan_.n;
        p.ldc = p.N;
        p.c_batch_stride = plan_.n;
        p.add = plan_.partials == 0;
        multiply(ctx_, p, scratch_);
        if (plan_.partials == 0) return;
        used_ += count;
        if (used_ == plan_.partials) flush();
    }

    void flush() {
        add_partials(ctx_.gpu->stream(), partial_, used_, plan_.n, d_weight_);
        used_ = 0;
    }

    Ctx& ctx_;
    DType storage_;
    float* d_weight_;
    SlicePlan plan_;
    char* scratch_;
    float* partial_;
    int64_t used_ = 0;
};

}  // namespace

void linear_backward_weight(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_weight,
                            const TensorRef& d_bias, void* scratch) {
    expect_neighbours("linear_backward_weight", "x", args.x);
    expect_neighbours("linear_backward_weight", "d_y", d_y);
    const SlicePlan plan = plan_slices(args.x, d_y);
    auto* bytes = static_cast<char*>(scratch);
    WeightSum(ctx, args.x.dtype, d_weight.ptr<float>("d_weight"), plan, bytes).run();
    if (!d_bias) return;
    void* partial = bytes + kProductWorkspaceBytes + plan.partial_bytes();
    backward_bias(ctx.gpu->stream(), d_y, d_bias, static_cast<float*>(partial));
}

}  // namespace adder::cuda
