// Where memory lives and ops run.
#pragma once
#include <cstdint>

namespace adder {

enum class Device : uint8_t { cpu, cuda };

constexpr const char* name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

}  // namespace adder
