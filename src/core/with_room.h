// Making what may need more memory than there is.
#pragma once
#include <cstdint>

#include "core/error.h"
#include "core/log.h"

namespace adder {

// What `make(n)` makes, n at first `n`. While that needs more memory than there is it is tried again with half of it, but
// not with less than `least`, and a line of the log says so. Below that the OutOfMemory names the largest of the halves
// that follow for which there is memory, found by making it. `option` is what sets n.
template <class Make>
auto make_with_room(const char* option, int64_t n, int64_t least, Make make) {
    for (;; n /= 2) {
        try {
            return make(n);
        } catch (const OutOfMemory& e) {
            if (n / 2 >= least) {
                log_info("{}; trying {} {}", e.what(), option, n / 2);
                continue;
            }
            for (int64_t less = n / 2; less > 0; less /= 2) {
                try {
                    make(less);
                } catch (const OutOfMemory&) {
                    continue;
                }
                fail<OutOfMemory>("{}; {} {} fits", e.what(), option, less);
            }
            throw;
        }
    }
}

}  // namespace adder
