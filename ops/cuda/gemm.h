// The matrix product of the CUDA back end: cuBLASLt, or where the program was built without nvcc a kernel for the emulator.
#pragma once
#include <cstdint>

#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

/// One side of a product: a row-major matrix, rows `ld` numbers apart, or the transpose of one. Both sides are f32, or both bf16.
struct Operand {
  const void* data = nullptr;
  int64_t ld = 0;
  bool transposed = false;
  DType type = DType::f32;
};

/// Where a product goes: a row-major matrix, rows `ld` numbers apart, f32, or bf16 if both sides are.
struct Product {
  void* data = nullptr;
  int64_t ld = 0;
  bool add = false;            // += instead of =
  const void* bias = nullptr;  // (n) numbers of this type, added to each row
  DType type = DType::f32;
  float* row_sums = nullptr;  // (m), if there is no bias: those of A's rows, a by-product of f32 factors where the library has it
};

/// C (m, n) = A (m, k) times B (k, n) [+ bias]; any m, n, k >= 0, but k > 0 with a bias. Sums are float32; of float32 matrices the factors
/// are too, unless on.tf32. The same bits on every run on the same kind of GPU. The first product of a thread on a device allocates, later
/// ones do not: they can be captured in a CUDA graph. A thread works on one stream at a time. True if c.row_sums was written: always the
/// same for the same kind of product.
bool matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, Product c);

}  // namespace stflow
