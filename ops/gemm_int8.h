// Products of 8-bit integers: weights with one scale for each output, activations with one for each row. A quarter of float32's memory,
// and up to four times its rate where the processor adds four products at a time (AVX-512 VNNI).
#pragma once
#include <cstddef>
#include <cstdint>

#include "ops/gemm.h"

namespace stflow {

/// Bytes that pack_int8() writes for w (n, k): the integers in panels, four along k side by side, then scale and sum of each column.
constexpr size_t int8_packed_bytes(int64_t n, int64_t k) { return size_t((n + 31) / 32 * 32) * size_t((k + 3) / 4 * 4 + 8); }
/// Bytes of scratch of gemm_int8() for m rows: their integers and scales.
constexpr size_t int8_scratch_bytes(int64_t m, int64_t k) { return size_t(m) * size_t(k + 131 + 4); }

/// Rounds w (n, k) to whole multiples of max |w[j]| / 127 in each row j and packs them.
template <class B> void pack_int8(B, const float* w, int64_t n, int64_t k, void* packed);

/// C (m, n) = A (m, k) times a matrix of pack_int8(), with an epilogue, on all threads. Each row of A is rounded to whole multiples of its
/// max / 127. The integer sums are exact, k < 60000, so they are the same on every instruction set. `scratch`: int8_scratch_bytes().
template <class B>
void gemm_int8(B, const float* a, int64_t lda, int64_t m, const void* packed, int64_t n, int64_t k, float* c, int64_t ldc,
               const Epilogue<float>& epilogue, void* scratch);

}  // namespace stflow
