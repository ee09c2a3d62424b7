// Mapping: block = one row. Logits become 64-bit keys, smaller = ranked earlier: the inverted order of the logit above, the
// token below, all ones for tokens that are not allowed. Where a rank matters (top-k, top-p) the keys are sorted by a
// bitonic network. Thread i then owns the i-th run of neighbouring places for sums and for the search.
// Moves B V 4 bytes. Order of sums, in f64: places of a thread in order, lanes by doubling distances, warps in order.
// Workspace: keys in shared memory up to kMostSharedPlaces, else in scratch.
#include "kernels/sample/sample_cuda.h"

#include "core/rng.h"
#include "kernels/common/device.cuh"
#include "kernels/common/fault.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"

namespace adder::cuda {

namespace {

constexpr int kMostThreads = 256;
constexpr uint64_t kNotAllowed = ~uint64_t{0};

struct SampleProblem {
    const float* logits;
    const uint8_t* allowed;
    const int64_t *position, *end, *record;
    int64_t* new_position;
    uint16_t *next, *tokens;  // tokens: null = not kept
    uint64_t* keys;           // in scratch, a row after another; null = in shared memory
    FaultWord* fault;
    int64_t logits_stride, tokens_stride, capacity, allowed_rows;
    uint64_t seed;
    SampleRule rule;
    int V, places;  // of a row's keys: a power of two where they are sorted
};

__device__ __forceinline__ uint64_t key_of(float logit, int id) {
    const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 ranks as 0
    const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return static_cast<uint64_t>(~ascending) << 32 | static_cast<uint32_t>(id);
}
__device__ __forceinline__ double logit_of(uint64_t key) {
    const uint32_t ascending = ~static_cast<uint32_t>(key >> 32);
    return __uint_as_float(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}

// Smallest over the block, in every thread. Two barriers.
__device__ uint64_t block_min(uint64_t x, uint64_t* room) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        const uint64_t other = __shfl_xor_sync(kFullWarp, x, offset);
        x = other < x ? other : x;
    }
    if (threadIdx.x % kWarp == 0) room[threadIdx.x / kWarp] = x;
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / kWarp; ++i) x = room[i] < x ? room[i] : x;
    __syncthreads();
    return x;
}

// Sum over the threads before this one; `total` over all. Two barriers.
__device__ double block_sum_before(double x, double* room, double& total) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    double sum = x;
    for (int offset = 1; offset < kWarp; offset *= 2) {
        const double before = __shfl_up_sync(kFullWarp, sum, offset);
        if (lane >= offset) sum += before;
    }
    if (lane == kWarp - 1) room[warp] = sum;
    double before = __shfl_up_sync(kFullWarp, sum, 1);
    if (lane == 0) before = 0;
    __syncthreads();
    double warps_before = 0;
    total = 0;
    for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) {
        if (i == warp) warps_before = total;
        total += room[i];
    }
    __syncthreads();
    return warps_before + before;
}

// Ascending; n a power of two.
__device__ void sort_keys(uint64_t* keys, int n) {
    for (int run = 2; run <= n; run *= 2)
        for (int distance = run / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int i = threadIdx.x; i < n / 2; i += blockDim.x) {
                const int low = i / distance * 2 * distance + i % distance, high = low + distance;
                const uint64_t a = keys[low], b = keys[high];
                const bool ascending = (low & run) == 0;
                if ((a > b) == ascending) keys[low] = b, keys[high] = a;
            }
        }
    __syncthreads();
}

// The places of a row that may still be drawn, cut into a run for each thread.
struct Places {
    const uint64_t* keys;
    int n, begin, end;
    double best, temperature;

    __device__ Places(const uint64_t* keys_, int n_, double best_, double temperature_)
        : keys(keys_), n(n_), best(best_), temperature(temperature_) {
        const int each = (n + static_cast<int>(blockDim.x) - 1) / static_cast<int>(blockDim.x);
        begin = min(static_cast<int>(threadIdx.x) * each, n);
        end = min(begin + each, n);
    }
    __device__ double mass(int i) const {
        return keys[i] == kNotAllowed ? 0.0 : exp((logit_of(keys[i]) - best) / temperature);
    }
    // The first place up to which the masses sum to more than `target` (at least, where `reach`), n if there is none.
    __device__ int first_past(double before, double target, bool reach, double* sum_there, uint64_t* room) const {
        double sum = before;
        uint64_t found = static_cast<uint64_t>(n);
        for (int i = begin; i < end; ++i) {
            sum += mass(i);
            if (!(reach ? sum >= target : sum > target)) continue;
            found = static_cast<uint64_t>(i);
            break;
        }
        const uint64_t first = block_min(found, room);
        if (found == first && first < static_cast<uint64_t>(n)) *sum_there = sum;
        __syncthreads();
        return static_cast<int>(first);
    }
};

// `drawable`: of the row's tokens. Keys are sorted where `ranked`.
__device__ int draw(const SampleProblem& p, const uint64_t* keys, bool ranked, int drawable, uint64_t best, double u) {
    __shared__ double sum_room[kMostThreads / kWarp], sum_there;
    __shared__ uint64_t min_room[kMostThreads / kWarp];
    const auto id_of = [](uint64_t key) { return static_cast<int>(key & 0xffffffffu); };
    if (p.rule.temperature == 0) return id_of(best);
    int n = ranked ? drawable : p.V;
    if (p.rule.top_k > 0 && p.rule.top_k < n) n = static_cast<int>(p.rule.top_k);
    Places places(keys, n, logit_of(best), p.rule.temperature);
    double own = 0, total;
    for (int i = places.begin; i < places.end; ++i) own += places.mass(i);
    const double before = block_sum_before(own, sum_room, total);
    if (p.rule.top_p > 0 && p.rule.top_p < 1) {
        const int last = places.first_past(before, p.rule.top_p * total, true, &sum_there, min_room);
        if (last < n) n = last + 1, total = sum_there;
    }
    const int drawn = places.first_past(before, u * total, false, &sum_there, min_room);
    if (drawn < n) return id_of(keys[drawn]);
    // Rounding left nothing: the last one that may be drawn.
    if (ranked) return id_of(keys[n - 1]);
    uint64_t last = kNotAllowed;
    for (int i = places.begin; i < places.end; ++i)
        if (keys[i] != kNotAllowed) last = static_cast<uint64_t>(p.V - 1 - i);
    return p.V - 1 - static_cast<int>(block_min(last, min_room));
}

__global__ void __launch_bounds__(kMostThreads) sample_kernel(SampleProblem p) {
    __shared__ uint64_t min_room[kMostThreads / kWarp];
    __shared__ double count_room[kMostThreads / kWarp];
    release_next();
    wait_for_previous();
    const int64_t b = blockIdx.x, position = p.position[b];
    if (position >= p.end[b]) {
        if (threadIdx.x == 0) p.new_position[b] = position;
        return;
    }
    uint64_t* keys = p.keys ? p.keys + b * p.places : dynamic_shared<uint64_t>();
    const float* logits = p.logits + b * p.logits_stride;
    const uint8_t* allowed = p.allowed + position % p.allowed_rows * p.V;
    uint64_t best = kNotAllowed, bad = kNotAllowed;
    int mine = 0;
    for (int i = threadIdx.x; i < p.places; i += blockDim.x) {
        uint64_t key = kNotAllowed;
        if (i < p.V && allowed[i]) {
            key = key_of(logits[i], i);
            ++mine;
            if (!isfinite(logits[i]) && bad == kNotAllowed) bad = static_cast<uint64_t>(i);
        }
        keys[i] = key;
        best = key < best ? key : best;
    }
    best = block_min(best, min_room);
    bad = block_min(bad, min_room);
    double drawable;
    block_sum_before(mine, count_room, drawable);
    const bool faulty = bad != kNotAllowed || drawable == 0;
    // kNotAllowed becomes -1.
    if (faulty && threadIdx.x == 0) report(p.fault, Fault::logits, static_cast<int>(bad), b, position);
    const bool ranked = p.rule.top_k > 0 || (p.rule.top_p > 0 && p.rule.top_p < 1);
    int id = 0;  // goes on as something that an embedding can look up
    if (!faulty) {
        if (ranked) sort_keys(keys, p.places);
        const double u = Philox(p.seed, Stream::sample)
                             .uniform(static_cast<uint64_t>(position), static_cast<uint32_t>(p.record[b]));
        id = draw(p, keys, ranked, static_cast<int>(drawable), best, u);
    }
    if (threadIdx.x > 0) return;
    p.next[b] = static_cast<uint16_t>(id);
    if (p.tokens) p.tokens[b * p.tokens_stride + position % p.capacity] = static_cast<uint16_t>(id);
    p.new_position[b] = position + 1;
}

}  // namespace

void sample(Ctx& ctx, const SampleArgs& args, const SampleRows& rows, void* scratch) {
    const int64_t B = args.logits.size(0), V = args.logits.size(1);
    SampleProblem p{};
    p.logits = args.logits.as<const float, 2>("logits").data;
    p.allowed = args.allowed.ptr<const uint8_t>("allowed");
    p.position = rows.position.ptr<const int64_t>("position");
    p.end = rows.end.ptr<const int64_t>("end");
    p.record = rows.record.ptr<const int64_t>("record");
    p.new_position = rows.new_position.ptr<int64_t>("new_position");
    p.next = rows.next.ptr<uint16_t>("next");
    p.tokens = rows.tokens.as<uint16_t, 2>("tokens").data;
    p.keys = static_cast<uint64_t*>(scratch);
    p.fault = ctx.gpu->fault_word();
    p.logits_stride = args.logits.stride[0];
    p.tokens_stride = rows.tokens.stride[0];
    p.allowed_rows = args.allowed.size(0);
    p.capacity = rows.tokens ? rows.tokens.size(1) : 1;
    p.seed = args.seed;
    p.rule = args.rule;
    p.V = static_cast<int>(V);
    p.places = sample_places(V);
    const size_t shared = scratch ? 0 : static_cast<size_t>(p.places) * sizeof(uint64_t);
    const int threads = p.places < kMostThreads ? p.places : kMostThreads;
    launch_early(ctx.gpu->stream(), dim3(blocks(B)), dim3(static_cast<unsigned>(threads)), shared, sample_kernel, p);
}

}  // namespace adder::cuda
