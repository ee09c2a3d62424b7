#include "apps/app.h"
#include "apps/cmd_info.h"

namespace adder {

const std::vector<Command>& commands() {
    static const std::vector<Command> table = {
        {"info", kInfoSummary, run_info},
    };
    return table;
}

}  // namespace adder
