// The reference as `bench` quotes it without the compiler's vectoriser: this file is compiled with
// -fno-tree-vectorize.
#include "kernels/ssd/ssd_cases.h"

namespace adder {

void SsdCases::ref_forward_not_vectorized(const Case& c, Bag<float>& a) {
    ref_forward<float, NotVectorized>(c, a);
}

void SsdCases::ref_backward_not_vectorized(const Case& c, Bag<float>& a) {
    ref_backward<float, NotVectorized>(c, a);
}

}  // namespace adder
