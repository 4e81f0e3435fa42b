// A square of one register a side turned in registers.
#pragma once
#include <utility>

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// Exchanges blocks of S lanes between two rows: the upper blocks of a with the lower of b.
template <int S, class R, int... Lane> STFLOW_INLINE void exchange(R& a, R& b, std::integer_sequence<int, Lane...>) {
  constexpr int W = sizeof...(Lane);
  const R x = a, y = b;
  a = __builtin_shufflevector(x, y, ((Lane & S) ? W + Lane - S : Lane)...);
  b = __builtin_shufflevector(x, y, ((Lane & S) ? W + Lane : Lane + S)...);
}

/// Row i of the result is column i. log2(W) rounds, each exchanging the off-diagonal blocks of half the size of the round before.
template <class T, int W, int S = W / 2> STFLOW_INLINE void transpose(Reg<T> (&row)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++)
    if (!(i & S)) exchange<S>(row[i], row[i + S], std::make_integer_sequence<int, W>{});
  if constexpr (S > 1) transpose<T, W, S / 2>(row);
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
      transpose<T, W>(square);
#pragma GCC unroll 16
      for (int r = 0; r < W; r++) std::memcpy(to + (j + r) * ldt + i, &square[r], kRegister);
    }
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = i < whole ? wide : 0; j < columns; j++) to[j * ldt + i] = from[i * ldf + j];
}

}  // namespace
}  // namespace stflow
