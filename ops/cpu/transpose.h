// A square of one register a side turned in registers.
#pragma once
#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// Row i of the result is column i. log2(W) rounds, each exchanging the off-diagonal blocks of half the size of the round before.
template <class T, int W = kRegister / int(sizeof(T))> STFLOW_INLINE void transpose(Reg<T> (&row)[W]) {
  using Index = Reg<std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
#pragma GCC unroll 4
  for (int s = W / 2; s >= 1; s /= 2) {
    Index upper{}, lower{};
#pragma GCC unroll 16
    for (int l = 0; l < W; l++) upper[l] = l & s ? W + l - s : l, lower[l] = l & s ? W + l : l + s;
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) {
      if (i & s) continue;
      const Reg<T> a = row[i], b = row[i + s];
      row[i] = __builtin_shuffle(a, b, upper), row[i + s] = __builtin_shuffle(a, b, lower);
    }
  }
}

/// to (columns, rows) = from (rows, columns) transposed; leading dimensions ldt and ldf.
template <class T> STFLOW_INLINE void transpose(const T* from, int64_t ldf, int64_t rows, int64_t columns, T* to, int64_t ldt) {
  constexpr int W = kRegister / int(sizeof(T));
  const int64_t whole = rows - rows % W, wide = columns - columns % W;
  for (int64_t j = 0; j < wide; j += W)
    for (int64_t i = 0; i < whole; i += W) {
      Reg<T> square[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; r++) std::memcpy(&square[r], from + (i + r) * ldf + j, kRegister);
      transpose<T>(square);
#pragma GCC unroll 16
      for (int r = 0; r < W; r++) std::memcpy(to + (j + r) * ldt + i, &square[r], kRegister);
    }
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = i < whole ? wide : 0; j < columns; j++) to[j * ldt + i] = from[i * ldf + j];
}

}  // namespace
}  // namespace stflow
