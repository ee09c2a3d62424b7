#include "core/error.h"

#include <string_view>

namespace adder {

void check_failed(const char* condition, const char* file, int line) {
    std::string_view name(file);
    name.remove_prefix(name.find_last_of('/') + 1);  // npos + 1 == 0 keeps a bare name whole
    throw std::logic_error(fmt::format("internal error at {}:{}: {}", name, line, condition));
}

}  // namespace adder
