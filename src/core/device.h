// Where memory lives and ops run; the GPU as the host sees it. No CUDA header is needed to include this: without CUDA
// every function below that needs a GPU throws Error.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/gpu_room.h"

struct CUstream_st;     // cudaStream_t points at it
struct CUevent_st;      // cudaEvent_t
struct CUgraphExec_st;  // cudaGraphExec_t

namespace adder {

enum class Device : uint8_t { cpu, cuda };

constexpr const char* name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

struct GpuInfo {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    int64_t memory_bytes = 0, l2_bytes = 0;
    int driver = 0, runtime = 0;  // CUDA versions, 13000 = 13.0
};

// Why the GPU cannot be used, as one line with a remedy; empty = it can.
std::string gpu_problem();
// Throws Error with gpu_problem().
GpuInfo gpu_info();
int64_t gpu_free_bytes();
GpuRoom gpu_room();
// For CUDA's word that there is no memory, whatever was done: throws OutOfMemory with `need` and what is free.
[[noreturn]] void out_of_gpu_memory(const std::string& need);
// CUDA architectures that this build has code for, "90a-real"; empty without CUDA.
std::string gpu_architectures();

// Zeroed memory of the device, aligned to 256 bytes. Throws OutOfMemory naming `what`, the need and what is
// free.
void* device_alloc(int64_t bytes, const char* what);
void device_free(void* p);

// Between host and device, either way; returns when done, after everything the device was given before.
void copy_bytes(void* to, const void* from, int64_t bytes);
void zero_device_bytes(void* p, int64_t bytes);

// What a kernel found wrong in its data: written by the first that finds something, read with the metrics.
enum class Fault : int32_t { none = 0, token_id, target, logits, weight };
struct FaultWord {
    Fault fault = Fault::none;
    int32_t value = 0;              // the offending number; of logits the token, -1 = none is allowed
    int64_t row = 0, position = 0;  // the position inside the tile
};
// One line: what was wrong, where, and what it means.
std::string describe(const FaultWord& word);

// A GPU with the streams that a computation runs on. One for each thing that computes; made once, passed in Ctx.
class Gpu {
  public:
    Gpu();  // throws Error with gpu_problem()
    ~Gpu();
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;

    CUstream_st* stream() const;       // ops
    CUstream_st* copy_stream() const;  // transfers that run beside them
    const GpuInfo& info() const;
    FaultWord* fault_word() const;  // on the device
    // Waits for everything given so far; throws DeviceError when a kernel failed or has reported a fault.
    void synchronize();

    // Handles of libraries, made by the op that needs them on first use and freed with this.
    std::shared_ptr<void>& library(int slot) { return libraries_[slot]; }

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    std::shared_ptr<void> libraries_[4];
};

// All of these are ordered after what the stream was given before.
void copy_async(void* to, const void* from, int64_t bytes, CUstream_st* stream);
void copy_rows_async(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t row_bytes, int64_t rows,
                     CUstream_st* stream);
void zero_async(void* p, int64_t bytes, CUstream_st* stream);

// Page-locked host memory, zeroed: what asynchronous copies need. Throws OutOfMemory naming `what` and the
// need.
class PinnedMemory {
  public:
    PinnedMemory() = default;
    PinnedMemory(int64_t bytes, const char* what);
    void* data() const { return memory_.get(); }
    template <class T>
    T* as() const {
        return static_cast<T*>(memory_.get());
    }

  private:
    std::shared_ptr<void> memory_;
};

// A point in a stream.
class Event {
  public:
    Event();
    ~Event();
    Event(Event&&) noexcept;
    Event& operator=(Event&&) noexcept;
    void record(CUstream_st* stream);
    void wait_in(CUstream_st* stream) const;  // the stream waits, the host does not
    bool done() const;                        // throws DeviceError when the device has failed
    void synchronize() const;
    double ms_since(const Event& earlier) const;  // both must be done

  private:
    CUevent_st* event_ = nullptr;
};

// Work of one stream, recorded once and given to the device again and again as one piece.
class Graph {
  public:
    Graph() = default;
    // Everything that `work` gives to the stream. Nothing runs. No allocation may happen inside.
    Graph(Gpu& gpu, const std::function<void()>& work);
    explicit operator bool() const { return exec_ != nullptr; }
    void launch(CUstream_st* stream) const;

  private:
    std::shared_ptr<CUgraphExec_st> exec_;
};

}  // namespace adder
