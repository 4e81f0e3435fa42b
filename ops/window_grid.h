// The windows of Swin's attention: which cells a window holds and which of them see each other. For both back ends.
#pragma once
#include <cstdint>

#include "engine/random.h"  // STFLOW_BOTH

namespace stflow {

struct WindowGrid {
  int64_t side = 0, window = 0, shift = 0;  // cells

  STFLOW_BOTH int64_t across() const { return side / window; }
  STFLOW_BOTH int64_t count() const { return across() * across(); }  // windows of an image
  STFLOW_BOTH int64_t cells() const { return window * window; }      // of a window
  /// Cell number i (row by row) of a window, counted over the map.
  STFLOW_BOTH int64_t cell(int64_t w, int64_t i) const {
    const int64_t y = (w / across() * window + i / window + shift) % side, x = (w % across() * window + i % window + shift) % side;
    return y * side + x;
  }
  /// Which part of the map a cell of a window comes from: parts that meet only by wrapping around differ.
  STFLOW_BOTH int part(int64_t w, int64_t i) const {
    const int64_t y = w / across() * window + i / window + shift, x = w % across() * window + i % window + shift;
    return (y >= side ? 2 : 0) + (x >= side ? 1 : 0);
  }
  /// The row of the bias for cells i (query) and j (key) of a window.
  STFLOW_BOTH int64_t offset(int64_t i, int64_t j) const {
    return (i / window - j / window + window - 1) * (2 * window - 1) + i % window - j % window + window - 1;
  }
};

}  // namespace stflow
