#include "core/device.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/bytes_text.h"
#include "core/error.h"
#include "core/gpu_code.h"

namespace adder {

namespace {

// Errors that leave the context unusable say so: what is on the device cannot be trusted then.
void check(cudaError_t code, const char* what) {
    if (code == cudaSuccess) return;
    if (code == cudaErrorMemoryAllocation) out_of_gpu_memory(what);
    fail<DeviceError>("CUDA: {}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code));
}

std::string version_text(int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); }

GpuInfo info_of(const cudaDeviceProp& p) {
    GpuInfo g;
    g.name = p.name;
    g.major = p.major;
    g.minor = p.minor;
    g.multiprocessors = p.multiProcessorCount;
    g.memory_bytes = static_cast<int64_t>(p.totalGlobalMem);
    g.l2_bytes = p.l2CacheSize;
    cudaDriverGetVersion(&g.driver);
    cudaRuntimeGetVersion(&g.runtime);
    return g;
}

}  // namespace

std::string gpu_architectures() { return ADDER_CUDA_ARCHITECTURES; }

std::string gpu_problem() {
    int driver = 0, runtime = 0, count = 0;
    cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return "no NVIDIA driver is loaded; hint: install one, or pass --device cpu";
    const cudaError_t found = cudaGetDeviceCount(&count);
    cudaGetLastError();  // an expected failure must not be found by a later check
    if (found == cudaErrorInsufficientDriver)
        return fmt::format("the NVIDIA driver knows CUDA {}, this program needs {}; hint: a newer driver, or --device cpu",
                           version_text(driver), version_text(runtime));
    if (found != cudaSuccess || count == 0)
        return fmt::format("no usable GPU ({}); hint: --device cpu", cudaGetErrorString(found));
    cudaDeviceProp p;
    if (const cudaError_t e = cudaGetDeviceProperties(&p, 0); e != cudaSuccess)
        return fmt::format("the GPU does not answer ({}); hint: --device cpu", cudaGetErrorString(e));
    return gpu_code_problem(info_of(p), ADDER_CUDA_ARCHITECTURES);
}

GpuInfo gpu_info() {
    if (const std::string problem = gpu_problem(); !problem.empty()) fail("--device cuda: {}", problem);
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, 0), "cannot read the properties of the GPU");
    return info_of(p);
}

int64_t gpu_free_bytes() {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cannot read how much memory is free");
    return static_cast<int64_t>(free);
}

GpuRoom gpu_room() {
    size_t free = 0, total = 0;
    cudaDeviceProp p;
    // Also asked for when something has failed already, of which more is to be said than of this.
    if (cudaMemGetInfo(&free, &total) == cudaSuccess && cudaGetDeviceProperties(&p, 0) == cudaSuccess)
        return {p.name, static_cast<int64_t>(free), static_cast<int64_t>(total)};
    cudaGetLastError();
    return {};
}

void out_of_gpu_memory(const std::string& need) {
    cudaGetLastError();  // not to be found by a later check
    fail<OutOfMemory>("out of GPU memory: {}; {}", need, text_of(gpu_room()));
}

void* device_alloc(int64_t bytes, const char* what) {
    void* p = nullptr;
    const cudaError_t code = cudaMalloc(&p, static_cast<size_t>(bytes > 0 ? bytes : 1));
    if (code == cudaErrorMemoryAllocation) out_of_gpu_memory(fmt::format("{} needs {}", what, bytes_text(bytes)));
    check(code, "allocation");
    zero_device_bytes(p, bytes);
    return p;
}

void device_free(void* p) { cudaFree(p); }

void copy_bytes(void* to, const void* from, int64_t bytes) {
    check(cudaDeviceSynchronize(), "work on the GPU failed");
    check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault), "copy");
    // From pageable memory the call returns once the bytes are staged, and our streams do not wait for its stream.
    check(cudaDeviceSynchronize(), "copy");
}

void zero_device_bytes(void* p, int64_t bytes) {
    check(cudaDeviceSynchronize(), "work on the GPU failed");
    check(cudaMemset(p, 0, static_cast<size_t>(bytes)), "clearing memory");
    check(cudaDeviceSynchronize(), "clearing memory");
}

struct Gpu::Impl {
    GpuInfo info;
    cudaStream_t stream = nullptr, copy_stream = nullptr;
    FaultWord* fault_word = nullptr;
    ~Impl() {
        if (fault_word) cudaFree(fault_word);
        if (copy_stream) cudaStreamDestroy(copy_stream);
        if (stream) cudaStreamDestroy(stream);
    }
};

Gpu::Gpu() : impl_(std::make_unique<Impl>()) {
    impl_->info = gpu_info();
    // The first call that needs the GPU itself.
    const cudaError_t code = cudaStreamCreateWithFlags(&impl_->stream, cudaStreamNonBlocking);
    if (code == cudaErrorDevicesUnavailable || code == cudaErrorMemoryAllocation)
        fail(
            "--device cuda: {} is taken by another program ({}); hint: end it, choose another GPU with "
            "CUDA_VISIBLE_DEVICES, or --device cpu",
            impl_->info.name, cudaGetErrorString(code));
    check(code, "creating a stream");
    check(cudaStreamCreateWithFlags(&impl_->copy_stream, cudaStreamNonBlocking), "creating a stream");
    impl_->fault_word = static_cast<FaultWord*>(device_alloc(sizeof(FaultWord), "the fault word"));
}

Gpu::~Gpu() {
    cudaDeviceSynchronize();
    for (auto& l : libraries_) l.reset();
}

CUstream_st* Gpu::stream() const { return impl_->stream; }
CUstream_st* Gpu::copy_stream() const { return impl_->copy_stream; }
const GpuInfo& Gpu::info() const { return impl_->info; }
FaultWord* Gpu::fault_word() const { return impl_->fault_word; }

void Gpu::synchronize() {
    check(cudaDeviceSynchronize(), "work on the GPU failed");
    FaultWord word;
    check(cudaMemcpy(&word, impl_->fault_word, sizeof(word), cudaMemcpyDeviceToHost), "copy");
    if (word.fault == Fault::none) return;
    check(cudaMemset(impl_->fault_word, 0, sizeof(word)), "clearing memory");
    throw DeviceError(describe(word));
}

void copy_async(void* to, const void* from, int64_t bytes, CUstream_st* stream) {
    if (bytes > 0) check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream), "copy");
}

void copy_rows_async(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t row_bytes, int64_t rows,
                     CUstream_st* stream) {
    if (row_bytes == 0 || rows == 0) return;
    check(cudaMemcpy2DAsync(to, static_cast<size_t>(to_pitch), from, static_cast<size_t>(from_pitch),
                            static_cast<size_t>(row_bytes), static_cast<size_t>(rows), cudaMemcpyDefault, stream),
          "copy");
}

void zero_async(void* p, int64_t bytes, CUstream_st* stream) {
    if (bytes > 0) check(cudaMemsetAsync(p, 0, static_cast<size_t>(bytes), stream), "clearing memory");
}

PinnedMemory::PinnedMemory(int64_t bytes, const char* what) {
    void* p = nullptr;
    const cudaError_t code = cudaMallocHost(&p, static_cast<size_t>(bytes > 0 ? bytes : 1));
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        fail<OutOfMemory>("out of page-locked memory of the host: {} needs {}", what, bytes_text(bytes));
    }
    check(code, "allocating page-locked memory of the host");
    memory_ = std::shared_ptr<void>(p, [](void* q) { cudaFreeHost(q); });
    std::fill_n(static_cast<char*>(p), bytes, char{0});
}

Event::Event() { check(cudaEventCreate(&event_), "creating an event"); }
Event::~Event() {
    if (event_) cudaEventDestroy(event_);
}
Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
Event& Event::operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
}
void Event::record(CUstream_st* stream) { check(cudaEventRecord(event_, stream), "recording an event"); }
void Event::wait_in(CUstream_st* stream) const { check(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event"); }
bool Event::done() const {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check(code, "work on the GPU failed");
    return true;
}
void Event::synchronize() const { check(cudaEventSynchronize(event_), "work on the GPU failed"); }
double Event::ms_since(const Event& earlier) const {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, earlier.event_, event_), "reading the time between events");
    return ms;
}

Graph::Graph(Gpu& gpu, const std::function<void()>& work) {
    const cudaStream_t stream = gpu.stream();
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
    cudaGraph_t graph = nullptr;
    try {
        work();
    } catch (...) {
        // The stream must leave the recording, or nothing runs on it again.
        cudaStreamEndCapture(stream, &graph);
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "recording a graph");
    cudaGraphExec_t exec = nullptr;
    const cudaError_t code = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    check(code, "preparing a graph");
    exec_ = std::shared_ptr<CUgraphExec_st>(exec, [](CUgraphExec_st* e) { cudaGraphExecDestroy(e); });
}

void Graph::launch(CUstream_st* stream) const { check(cudaGraphLaunch(exec_.get(), stream), "starting a graph"); }

}  // namespace adder
