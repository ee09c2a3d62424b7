// How much memory a GPU has left, in words.
#pragma once
#include <cstdint>
#include <string>

namespace adder {

struct GpuRoom {
    std::string name;  // of the GPU
    int64_t free_bytes = 0, total_bytes = 0;
};

// "1.00 GiB of 79.11 GiB are free on NVIDIA H100"; a total of 0 is not known.
std::string text_of(const GpuRoom& room);
// "; 1.00 GiB of 79.11 GiB are free on NVIDIA H100, other programs hold the rest", before this program has taken more than
// a context; empty where that and the like explain what is not free.
std::string others_text(const GpuRoom& room);

// What is planned with where nobody says how much: not all, for others may want some too.
constexpr int64_t usable_bytes(int64_t free_bytes) { return free_bytes / 10 * 9; }

}  // namespace adder
