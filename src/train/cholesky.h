// Cholesky factorisation of a positive definite matrix, by blocks (Golub and Van Loan, Matrix Computations,
// section 4.2), spread over a pool: OpenBLAS's own LAPACK would bring threads whose number changes bits.
#pragma once
#include <cstdint>

#include "core/threads.h"

namespace adder {

// Replaces the lower triangle of `a` (n,n), row by row, by L with L L^T = a; the upper one is left as it is. Throws
// Error where `a` is not positive definite.
void cholesky(ThreadPool& pool, double* a, int64_t n);

// Replaces x (rows,n) by the solution X of X L = x, L lower as cholesky leaves it. For few rows: spread over columns.
void solve_lower(ThreadPool& pool, const double* l, int64_t n, double* x, int64_t rows);
// The same of X L^T = x.
void solve_lower_transposed(ThreadPool& pool, const double* l, int64_t n, double* x, int64_t rows);

}  // namespace adder
