// The pixels under a moving window, and the windows over a pixel.
#pragma once
#include "engine/cuda/cuda.h"
#include "ops/window.h"

namespace stflow {

/// The pixel (counted over the images) under tap number `tap` of place number r of a window; -1 outside of the map.
__device__ inline int64_t pixel_of(const Window& w, int64_t r, int64_t tap) {
  const int64_t across = (w.width + 2 * w.padding - w.kernel) / w.stride + 1, down = (w.height + 2 * w.padding - w.kernel) / w.stride + 1;
  const int64_t y = r / across % down * w.stride - w.padding + tap / w.kernel, x = r % across * w.stride - w.padding + tap % w.kernel;
  return y < 0 || y >= w.height || x < 0 || x >= w.width ? -1 : (r / (across * down) * w.height + y) * w.width + x;
}

/// Calls f(place, tap) for every place of the window over a pixel, in the order of places.
template <class F> __device__ void windows_over(const Window& w, int64_t pixel, F f) {
  const int64_t across = (w.width + 2 * w.padding - w.kernel) / w.stride + 1, down = (w.height + 2 * w.padding - w.kernel) / w.stride + 1;
  const int64_t x = pixel % w.width + w.padding, y = pixel / w.width % w.height + w.padding, image = pixel / (w.width * w.height);
  const int64_t top = y < w.kernel ? 0 : (y - w.kernel) / w.stride + 1, left = x < w.kernel ? 0 : (x - w.kernel) / w.stride + 1;
  for (int64_t i = top; i < down && i * w.stride <= y; i++)
    for (int64_t j = left; j < across && j * w.stride <= x; j++)
      f((image * down + i) * across + j, (y - i * w.stride) * w.kernel + x - j * w.stride);
}

}  // namespace stflow
