// Numbers of bytes as people read them.
#pragma once
#include <cstdint>
#include <string>

namespace adder {

// "1.50 GiB", "2.0 MiB", "1.5 KiB"
std::string bytes_text(int64_t bytes);

}  // namespace adder
