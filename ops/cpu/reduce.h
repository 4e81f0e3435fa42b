// Sums over the rows of a matrix, in a fixed order at any thread count.
#pragma once
#include "ops/cpu/simd.h"
#include "ops/reduce.h"

namespace stflow {
namespace {

/// Calls f(row, sums) for every row, where f adds into the `width` sums of the row's piece; then add(i, sums[i]) piece after
/// piece. `partial` holds reduce_pieces(rows) * width numbers.
template <class T, class F, class Add> void reduce_rows(int64_t rows, int64_t width, T* partial, F f, Add add) {
  const int64_t pieces = reduce_pieces(rows);
  parallel_for(pieces, 1, [=](int64_t piece, int64_t) {
    T* sums = partial + piece * width;
    std::memset(sums, 0, size_t(width) * sizeof(T));
    for (int64_t r = piece * rows / pieces; r < (piece + 1) * rows / pieces; r++) f(r, sums);
  });
  for (int64_t p = 0; p < pieces; p++)
    for (int64_t i = 0; i < width; i++) add(i, partial[p * width + i]);
}

}  // namespace
}  // namespace stflow
