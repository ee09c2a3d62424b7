#include "kernels/common/op_instance.h"

#include <algorithm>

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"

namespace adder {

namespace {

constexpr int64_t kScratchGuardBytes = 1024;
constexpr unsigned char kScratchGuard = 0xA5;

// Fills memory of a GPU, in pieces: scratch may be large.
void set_device_bytes(void* p, unsigned char value, int64_t bytes) {
    const std::vector<unsigned char> piece(static_cast<size_t>(std::min<int64_t>(bytes, 1 << 22)), value);
    for (int64_t at = 0; at < bytes;) {
        const int64_t n = std::min(bytes - at, static_cast<int64_t>(piece.size()));
        copy_bytes(static_cast<char*>(p) + at, piece.data(), n);
        at += n;
    }
}

// Before every op on a GPU, fills its scratch with NaN patterns and what follows with guard bytes; looks at those after.
class ScratchWatch : public OpMeter {
  public:
    // An arena that holds kScratchGuardBytes more than was planned.
    explicit ScratchWatch(Arena& arena)
        : arena_end_(static_cast<unsigned char*>(arena.alloc(DType::u8, {0}).data) + arena.capacity_bytes()) {}
    void planned(const OpCall&) override {}
    void begins(const OpCall&, void* scratch, int64_t bytes) override {
        end_ = scratch ? static_cast<unsigned char*>(scratch) + bytes : nullptr;
        if (!end_) return;
        guard_.resize(static_cast<size_t>(std::min<int64_t>(kScratchGuardBytes, arena_end_ - end_)));
        set_device_bytes(scratch, 0xFF, bytes);
        set_device_bytes(end_, kScratchGuard, std::ssize(guard_));
    }
    void ran(const OpCall& call, double, int64_t, std::function<void(Ctx&, void*)>) override {
        if (!end_) return;
        copy_bytes(guard_.data(), end_, std::ssize(guard_));
        if (std::any_of(guard_.begin(), guard_.end(), [](unsigned char b) { return b != kScratchGuard; }))
            damaged = fmt::format("the scratch of {}", call.name);
    }
    std::string damaged;

  private:
    unsigned char *arena_end_, *end_ = nullptr;  // end_: of the op's scratch
    std::vector<unsigned char> guard_;
};

}  // namespace

Instance::Instance(const OpCase& c, const Bag<double>& given, const RunOn& on, Layout layout)
    : case_(c), numbers_(given), on_(on), types_(array_types(c, on.storage)) {
    bag_.t0 = given.t0;
    for (const ArraySpec& s : c.inputs) add(s, s.name, layout);
    for (const ArraySpec& s : c.outputs) {
        add(s, s.name, layout);
        if (s.differentiable && c.backward) add(s, "d_" + s.name, layout);
    }
    for (const auto& [name, s] : own_gradients(c)) add(*s, name, layout);
    if (on.device == Device::cuda) place_on_gpu();
    for (const auto& [name, m] : memory_) bag_.tensors[name] = m.ref();
    reset();
}

void Instance::add(const ArraySpec& spec, const std::string& name, Layout layout) {
    const bool dense = spec.contiguous || spec.kind != Kind::activation;
    const bool fresh = memory_
                           .try_emplace(name, types_.at(name), spec.shape, dense ? Layout::contiguous : layout,
                                        on_.device, !on_.exact)
                           .second;
    CHECK(fresh && "two arrays of a case have one name");
}

void Instance::place_on_gpu() {
    CHECK(on_.gpu);
    constexpr int64_t kAlign = Arena::kAlignCuda;
    if (on_.exact) {
        for (auto& [name, m] : memory_)
            m.place(blocks_.emplace_back(DType::u8, Shape{m.block_bytes()}, Device::cuda, "an array of a case")
                        .ref()
                        .data);
        return;
    }
    int64_t bytes = 0;
    for (const auto& [name, m] : memory_) bytes += ceil_div(m.block_bytes(), kAlign) * kAlign;
    blocks_.emplace_back(DType::u8, Shape{bytes}, Device::cuda, "the arrays of a case");
    auto* p = static_cast<char*>(blocks_.back().ref().data);
    for (auto& [name, m] : memory_) {
        m.place(p);
        p += ceil_div(m.block_bytes(), kAlign) * kAlign;
    }
}

std::vector<double> Instance::values(const std::string& name) const {
    return on_.device == Device::cpu ? values_of(bag_[name]) : memory_.at(name).values();
}

std::vector<unsigned char> Instance::bytes(const std::string& name) const {
    return on_.device == Device::cpu ? bytes_of(bag_[name]) : memory_.at(name).element_bytes();
}

void Instance::set(const std::string& name, const std::vector<double>& values) {
    if (on_.device == Device::cpu)
        set_values(bag_[name], values);
    else
        memory_.at(name).set(values);
}

void Instance::reset() {
    for (auto& [name, m] : memory_) {
        if (numbers_.has(name))
            m.set(numbers_in(numbers_, name));
        else
            m.poison();
    }
    for (const ArraySpec& s : case_.outputs)
        if (!s.starts_as.empty()) set(s.name, values(s.starts_as));
}

void Instance::reset(const Bag<double>& numbers) {
    numbers_ = numbers;
    bag_.t0 = numbers.t0;
    reset();
}

void Instance::call(const std::function<void(Ctx&, TensorBag&)>& f, ThreadPool& pool) {
    const char* what = "the scratch of a case";
    Arena plan(on_.device, what);
    Ctx ctx;
    ctx.device = on_.device;
    ctx.pool = &pool;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    TensorBag planned = bag_;
    for (auto& [name, t] : planned.tensors) t.data = nullptr;
    f(ctx, planned);
    ctx.dry_run = false;
    if (on_.device == Device::cuda) return call_on_gpu(f, ctx, plan.peak_bytes());
    Arena scratch(on_.device, what);
    scratch.bind(plan.peak_bytes(), true);
    ctx.scratch = &scratch;
    f(ctx, bag_);
}

void Instance::call_on_gpu(const std::function<void(Ctx&, TensorBag&)>& f, Ctx& ctx, int64_t scratch_bytes) {
    const int64_t guard_bytes = on_.exact ? 0 : kScratchGuardBytes;
    Arena scratch(Device::cuda, "the scratch of a case");
    scratch.bind(scratch_bytes + guard_bytes);
    ScratchWatch watch(scratch);
    ctx.scratch = &scratch;
    ctx.gpu = on_.gpu;
    if (!on_.exact) ctx.meter = &watch;
    f(ctx, bag_);
    on_.gpu->synchronize();
    CHECK(scratch.peak_bytes() <= scratch_bytes && "an op took more scratch than it planned");
    if (!watch.damaged.empty()) damaged_scratch_ = watch.damaged;
}

std::string Instance::damaged() const {
    for (const auto& [name, m] : memory_)
        if (!m.intact()) return name;
    return damaged_scratch_;
}

}  // namespace adder
