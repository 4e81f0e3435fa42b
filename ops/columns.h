#pragma once
#include <span>

#include "engine/tape.h"

namespace stflow {

/// A contiguous copy of columns [begin, begin + count) of the last dimension, as `shape`: any shape with that many elements.
Var columns(Var x, int64_t begin, int64_t count, Shape shape);
/// 1 to kMaxInputs inputs that agree in all but the last dimension, side by side along it.
Var concat(std::span<const Var> x);

/// Copies (or with `add` adds) `count` columns of x from column x_begin on to y from y_begin on. Both have the same rows.
struct ColumnCopy {
  Tensor x;
  int64_t x_begin = 0, x_cols = 0;
  Tensor y;
  int64_t y_begin = 0, y_cols = 0;
  int64_t rows = 0, count = 0;
  bool add = false;
};
template <class B> void copy_columns(B, const ColumnCopy& c);

}  // namespace stflow
