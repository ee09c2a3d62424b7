// The heaps in which an HDF5 file keeps strings of any length carry no checksum, and HDF5 1.10 does not return from some
// damaged ones. Source: HDF5 File Format Specification, version 3.0, section III.E, "Level 1E - Global Heap".
#pragma once
#include <cstddef>
#include <span>

namespace adder {

// Whether every heap of a file, in which lengths take eight bytes, can be walked to its end.
bool heaps_are_sound(std::span<const std::byte> file);

}  // namespace adder
