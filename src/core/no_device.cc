// Stands in for device.cc in a build without CUDA.
#include "core/device.h"
#include "core/error.h"

namespace adder {

namespace {
constexpr const char* kProblem = "this build has no CUDA kernels; hint: ./adder.sh build cuda, or pass --device cpu";
[[noreturn]] void no_cuda() { fail("--device cuda: {}", kProblem); }
}  // namespace

std::string gpu_problem() { return kProblem; }
std::string gpu_architectures() { return ""; }
GpuInfo gpu_info() { no_cuda(); }
int64_t gpu_free_bytes() { no_cuda(); }
GpuRoom gpu_room() { no_cuda(); }
void out_of_gpu_memory(const std::string&) { no_cuda(); }
void* device_alloc(int64_t, const char*) { no_cuda(); }
void device_free(void*) {}
void copy_bytes(void*, const void*, int64_t) { no_cuda(); }
void zero_device_bytes(void*, int64_t) { no_cuda(); }

struct Gpu::Impl {
    GpuInfo info;
};
Gpu::Gpu() { no_cuda(); }
Gpu::~Gpu() = default;
CUstream_st* Gpu::stream() const { no_cuda(); }
CUstream_st* Gpu::copy_stream() const { no_cuda(); }
const GpuInfo& Gpu::info() const { no_cuda(); }
FaultWord* Gpu::fault_word() const { no_cuda(); }
void Gpu::synchronize() { no_cuda(); }

void copy_async(void*, const void*, int64_t, CUstream_st*) { no_cuda(); }
void copy_rows_async(void*, int64_t, const void*, int64_t, int64_t, int64_t, CUstream_st*) { no_cuda(); }
void zero_async(void*, int64_t, CUstream_st*) { no_cuda(); }

PinnedMemory::PinnedMemory(int64_t, const char*) { no_cuda(); }
Event::Event() { no_cuda(); }
Event::~Event() = default;
Event::Event(Event&&) noexcept = default;
Event& Event::operator=(Event&&) noexcept = default;
void Event::record(CUstream_st*) { no_cuda(); }
void Event::wait_in(CUstream_st*) const { no_cuda(); }
bool Event::done() const { no_cuda(); }
void Event::synchronize() const { no_cuda(); }
double Event::ms_since(const Event&) const { no_cuda(); }
Graph::Graph(Gpu&, const std::function<void()>&) { no_cuda(); }
void Graph::launch(CUstream_st*) const { no_cuda(); }

}  // namespace adder
