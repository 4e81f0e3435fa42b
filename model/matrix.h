// Small dense float64 algebra on the packed matrix product: products and Cholesky systems, for ridge regression.
#pragma once
#include <vector>

#include "engine/device.h"
#include "engine/storage.h"

namespace stflow {

/// C (m, n) = A B, or with `add` C += A B, for row-major A (m, k) with leading dimension lda. B is (k, n), or with
/// `transposed` it lies as its transpose (n, k). Any thread count gives the same bits.
class Product {
 public:
  explicit Product(Context context = {}) : context_(context) {}
  void operator()(const double* a, int64_t lda, int64_t m, const double* b, int64_t ldb, bool transposed, int64_t n, int64_t k, double* c,
                  int64_t ldc, bool add = false);

 private:
  Context context_;
  Storage packed_;
};

/// A = L L^T for a symmetric positive definite A, by blocks of columns. Keeps its memory from one factor() to the next.
class Cholesky {
 public:
  explicit Cholesky(Context context = {}) : product_(context) {}

  /// Factors a (n, n), row-major: its lower triangle is read and becomes L, the upper one is scratch. `a` must live until
  /// the last solve(). Returns false if A is not positive definite or not finite: then there is nothing to solve.
  [[nodiscard]] bool factor(double* a, int64_t n);
  /// b (n, columns) = A^-1 b.
  void solve(double* b, int64_t columns);

 private:
  Product product_;
  double* l_ = nullptr;
  int64_t n_ = 0;
  std::vector<double> inverse_;  // of the diagonal blocks of L
  std::vector<double> side_;     // a block of columns, or of rows transposed
};

}  // namespace stflow
