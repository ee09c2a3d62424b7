// Cholesky factorisation of a positive definite matrix, by blocks (Golub and Van Loan, Matrix Computations,
// section 4.2), spread over a pool: OpenBLAS's own LAPACK would bring threads whose number changes bits.
#pragma once
#include <cstdint>

#include "core/threads.h"

namespace adder {

// Replaces the lower triangle of `a` (n,n), row by row, by L with L L^T = a; the upper one is left as it is. Throws
// Error where `a` is not positive definite.
void cholesky(ThreadPool& pool, double* a, int64_t n);

}  // namespace adder
