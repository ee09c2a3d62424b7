// What a member's positions are reduced to.
#pragma once
#include <cstdint>

namespace adder {

enum class PoolKind : uint8_t { mean, last, max };
inline constexpr PoolKind kPoolKinds[] = {PoolKind::mean, PoolKind::last, PoolKind::max};

constexpr const char* name_of(PoolKind kind) {
    return kind == PoolKind::mean ? "mean" : kind == PoolKind::last ? "last" : "max";
}

}  // namespace adder
