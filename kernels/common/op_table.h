// Every op, by name: what the conformance tests, `adder selftest` and `adder bench` loop over.
#pragma once
#include <span>
#include <vector>

#include "kernels/common/op_case.h"

namespace adder {

struct OpEntry {
    const char* name;
    std::vector<OpCase> (*cases)();
};

std::span<const OpEntry> all_ops();

}  // namespace adder
