// Where a square window reads as it moves over a map: what convolution and pooling share.
#pragma once
#include <cstdint>

namespace stflow {

/// A window of `kernel` x `kernel` pixels that moves over a map (height, width) by `stride` and begins `padding` pixels outside.
struct Window {
  int64_t height = 0, width = 0;
  int64_t kernel = 1, stride = 1, padding = 0;

  [[nodiscard]] constexpr int64_t out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  [[nodiscard]] constexpr int64_t out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
  [[nodiscard]] constexpr bool fits() const {
    return kernel > 0 && stride > 0 && padding >= 0 && padding < kernel && height + 2 * padding >= kernel && width + 2 * padding >= kernel;
  }
};

}  // namespace stflow
