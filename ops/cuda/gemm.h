// The matrix product of the CUDA back end: cuBLAS, or where the program was built without nvcc a kernel for the emulator.
#pragma once
#include <cstdint>

#include "engine/device.h"

namespace stflow {

/// One side of a product: a row-major matrix, rows `ld` numbers apart, or the transpose of one.
struct Operand {
  const float* data;
  int64_t ld;
  bool transposed = false;
};

/// C (m, n; row-major, rows ldc apart) = A (m, k) times B (k, n), or C += with `add`; any m, n, k >= 0. Float32 throughout (no TF32), the
/// same bits on every run on the same kind of GPU.
void matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t ldc, bool add = false);

}  // namespace stflow
