#include "model/matrix.h"

#include <algorithm>
#include <cmath>

#include "ops/gemm.h"

namespace stflow {
namespace {

constexpr int64_t kBlock = 64;  // columns that are eliminated together
constexpr int64_t kWide = 256;  // columns of the rest that are updated together: what lies above the diagonal is wasted

/// The lower triangle of a (n, n) becomes L; false if a pivot is not positive.
bool factor_block(double* a, int64_t lda, int64_t n) {
  for (int64_t j = 0; j < n; j++) {
    double pivot = a[j * lda + j];
    for (int64_t p = 0; p < j; p++) pivot -= a[j * lda + p] * a[j * lda + p];
    if (!(pivot > 0 && pivot < INFINITY)) return false;
    a[j * lda + j] = std::sqrt(pivot);
    for (int64_t i = j + 1; i < n; i++) {
      double x = a[i * lda + j];
      for (int64_t p = 0; p < j; p++) x -= a[i * lda + p] * a[j * lda + p];
      a[i * lda + j] = x / a[j * lda + j];
    }
  }
  return true;
}

/// inverse (n, n) = the inverse of the lower triangle of l; above the diagonal 0.
void invert_block(const double* l, int64_t ldl, int64_t n, double* inverse) {
  std::fill(inverse, inverse + n * n, 0.0);
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = j; i < n; i++) {
      double x = i == j ? 1 : 0;
      for (int64_t p = j; p < i; p++) x -= l[i * ldl + p] * inverse[p * n + j];
      inverse[i * n + j] = x / l[i * ldl + i];
    }
}

}  // namespace

void Product::operator()(const double* a, int64_t lda, int64_t m, const double* b, int64_t ldb, bool transposed, int64_t n, int64_t k,
                         double* c, int64_t ldc, bool add) {
  packed_.reserve(size_t(packed_elements(n, k)) * sizeof(double));
  auto* packed = static_cast<double*>(packed_.data());
  Epilogue<double> epilogue;
  epilogue.accumulate = add;
  on_cpu(context_.isa, [&](auto isa) {
    pack_weights(isa, b, ldb, !transposed, n, k, packed);
    gemm(isa, a, lda, m, static_cast<const double*>(packed), n, k, c, ldc, epilogue);
  });
}

bool Cholesky::factor(double* a, int64_t n) {
  l_ = a, n_ = n;
  inverse_.resize(size_t((n + kBlock - 1) / kBlock * kBlock * kBlock));
  side_.resize(size_t(n * kBlock));
  for (int64_t j = 0; j < n; j += kBlock) {
    const int64_t size = std::min(kBlock, n - j), rest = n - j - size;
    if (!factor_block(a + j * n + j, n, size)) return false;
    double* inverse = inverse_.data() + j * kBlock;
    invert_block(a + j * n + j, n, size, inverse);
    if (rest == 0) break;
    double* below = a + (j + size) * n + j;  // (rest, size), becomes A inverse^T
    for (int64_t i = 0; i < rest; i++) std::copy_n(below + i * n, size, side_.data() + i * size);
    product_(side_.data(), size, rest, inverse, size, true, size, size, below, n);
    for (int64_t i = 0; i < rest; i++)
      for (int64_t p = 0; p < size; p++) side_[size_t(i * size + p)] = -below[i * n + p];
    for (int64_t c = 0; c < rest; c += kWide) {
      double* corner = a + (j + size + c) * n + (j + size + c);
      product_(side_.data() + c * size, size, rest - c, below + c * n, n, true, std::min(kWide, rest - c), size, corner, n, true);
    }
  }
  return true;
}

void Cholesky::solve(double* b, int64_t columns) {
  std::vector<double> block(size_t(kBlock * columns));
  const int64_t last = (n_ - 1) / kBlock * kBlock;
  for (int64_t j = 0; n_ > 0 && j <= last; j += kBlock) {  // L z = b
    const int64_t size = std::min(kBlock, n_ - j), rest = n_ - j - size;
    std::copy_n(b + j * columns, size * columns, block.data());
    product_(inverse_.data() + j * kBlock, size, size, block.data(), columns, false, columns, size, b + j * columns, columns);
    for (int64_t i = 0; i < size * columns; i++) block[size_t(i)] = -b[j * columns + i];
    if (rest > 0)
      product_(l_ + (j + size) * n_ + j, n_, rest, block.data(), columns, false, columns, size, b + (j + size) * columns, columns, true);
  }
  double turned[kBlock * kBlock];
  for (int64_t j = last; n_ > 0 && j >= 0; j -= kBlock) {  // L^T x = z
    const int64_t size = std::min(kBlock, n_ - j);
    const double* inverse = inverse_.data() + j * kBlock;
    for (int64_t i = 0; i < size; i++)
      for (int64_t p = 0; p < size; p++) turned[i * size + p] = inverse[p * size + i];
    std::copy_n(b + j * columns, size * columns, block.data());
    product_(turned, size, size, block.data(), columns, false, columns, size, b + j * columns, columns);
    if (j == 0) break;
    for (int64_t p = 0; p < size; p++)
      for (int64_t i = 0; i < j; i++) side_[size_t(i * size + p)] = -l_[(j + p) * n_ + i];
    std::copy_n(b + j * columns, size * columns, block.data());
    product_(side_.data(), size, j, block.data(), columns, false, columns, size, b, columns, true);
  }
}

}  // namespace stflow
