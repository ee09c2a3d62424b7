#include "kernels/scan/scan_cases.h"

namespace adder {

void ScanProblem::ref_forward_not_vectorized(const Case& c, Bag<float>& a) {
    ref_forward<float, NotVectorized>(c, a);
}
void ScanProblem::ref_backward_not_vectorized(const Case& c, Bag<float>& a) {
    ref_backward<float, NotVectorized>(c, a);
}

}  // namespace adder
