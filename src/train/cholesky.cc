#include "train/cholesky.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "core/ceil_div.h"
#include "core/error.h"
#include "kernels/common/isa.h"

namespace adder {

namespace {

constexpr int64_t kBlock = 128;

void factor_diagonal(double* a, int64_t n, int64_t stride) {
    for (int64_t j = 0; j < n; ++j) {
        double* row = a + j * stride;
        for (int64_t i = 0; i < j; ++i) {
            double sum = row[i];
            for (int64_t k = 0; k < i; ++k) sum -= row[k] * a[i * stride + k];
            row[i] = sum / a[i * stride + i];
        }
        double rest = row[j];
        for (int64_t k = 0; k < j; ++k) rest -= row[k] * row[k];
        if (!(rest > 0)) fail("[cholesky] the matrix is not positive definite");
        row[j] = std::sqrt(rest);
    }
}

// Block b of x (rows,n), solved against the diagonal block of L, which is (size,size).
void solve_diagonal(const double* l, int64_t n, double* x, int64_t rows, int size, CBLAS_TRANSPOSE side) {
    const auto stride = static_cast<int>(n);
    if (rows == 1)
        cblas_dtrsv(CblasRowMajor, CblasLower, side == CblasTrans ? CblasNoTrans : CblasTrans, CblasNonUnit, size, l, stride, x,
                    1);
    else
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, side, CblasNonUnit, static_cast<int>(rows), size, 1, l, stride, x,
                    stride);
}

// y (rows,columns) -= x (rows,inner) T, where T or its transpose is `tile`; all with n columns to a row.
void subtract_product(const double* x, const double* tile, double* y, int64_t n, int64_t rows, int inner, int columns,
                      CBLAS_TRANSPOSE side) {
    const auto stride = static_cast<int>(n);
    const bool turned = side == CblasTrans;
    if (rows == 1)
        cblas_dgemv(CblasRowMajor, turned ? CblasNoTrans : CblasTrans, turned ? columns : inner, turned ? inner : columns, -1,
                    tile, stride, x, 1, 1, y, 1);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, side, static_cast<int>(rows), columns, inner, -1, x, stride, tile, stride, 1,
                    y, stride);
}

}  // namespace

void solve_lower(ThreadPool& pool, const double* l, int64_t n, double* x, int64_t rows) {
    prepare_blas();
    const auto size = [&](int64_t block) { return static_cast<int>(std::min(kBlock, n - block * kBlock)); };
    for (int64_t b = ceil_div(n, kBlock) - 1; b >= 0; --b) {
        const double* row = l + b * kBlock * n;
        solve_diagonal(row + b * kBlock, n, x + b * kBlock, rows, size(b), CblasNoTrans);
        pool.run(b, [&](int64_t j) {
            subtract_product(x + b * kBlock, row + j * kBlock, x + j * kBlock, n, rows, size(b), size(j), CblasNoTrans);
        });
    }
}

void solve_lower_transposed(ThreadPool& pool, const double* l, int64_t n, double* x, int64_t rows) {
    prepare_blas();
    const int64_t n_blocks = ceil_div(n, kBlock);
    const auto size = [&](int64_t block) { return static_cast<int>(std::min(kBlock, n - block * kBlock)); };
    for (int64_t b = 0; b < n_blocks; ++b) {
        solve_diagonal(l + b * kBlock * n + b * kBlock, n, x + b * kBlock, rows, size(b), CblasTrans);
        pool.run(n_blocks - b - 1, [&](int64_t t) {
            const int64_t j = b + 1 + t;
            subtract_product(x + b * kBlock, l + j * kBlock * n + b * kBlock, x + j * kBlock, n, rows, size(b), size(j),
                             CblasTrans);
        });
    }
}

void cholesky(ThreadPool& pool, double* a, int64_t n) {
    prepare_blas();
    const auto stride = static_cast<int>(n);
    const int64_t n_blocks = ceil_div(n, kBlock);
    const auto size = [&](int64_t block) { return static_cast<int>(std::min(kBlock, n - block * kBlock)); };
    const auto tile = [&](int64_t i, int64_t j) { return a + i * kBlock * n + j * kBlock; };
    for (int64_t b = 0; b < n_blocks; ++b) {
        factor_diagonal(tile(b, b), size(b), n);
        const int64_t below = n_blocks - b - 1;
        pool.run(below, [&](int64_t t) {
            cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, size(b + 1 + t), size(b), 1,
                        tile(b, b), stride, tile(b + 1 + t, b), stride);
        });
        // Tile (i,j) of the rest, i >= j, is task i (i + 1) / 2 + j.
        pool.run(below * (below + 1) / 2, [&](int64_t t) {
            auto i = static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(t) + 1) - 1) / 2);
            while (i * (i + 1) / 2 > t) --i;
            while ((i + 1) * (i + 2) / 2 <= t) ++i;
            const int64_t row = b + 1 + i, column = b + 1 + t - i * (i + 1) / 2;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(row), size(column), size(b), -1, tile(row, b),
                        stride, tile(column, b), stride, 1, tile(row, column), stride);
        });
    }
}

}  // namespace adder
