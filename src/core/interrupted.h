// How work that looks at a stop flag ends when it is set.
#pragma once

namespace adder {

// What was being computed or written is incomplete.
struct Interrupted {};

}  // namespace adder
