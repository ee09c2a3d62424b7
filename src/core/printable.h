// Text that has to stay on one line of a table, a header or a message.
#pragma once
#include <string>
#include <string_view>

namespace adder {

// The text with \t, \n, \r, and \x1b and the like for its other control characters (ASCII); the rest as it is.
std::string printable(std::string_view text);

}  // namespace adder
