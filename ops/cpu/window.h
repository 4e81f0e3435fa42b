// The pixels under a moving window, and the windows over a pixel.
#pragma once
#include <algorithm>

#include "ops/window.h"

namespace stflow {
namespace {

struct Place {
  int64_t image, y, x;  // of the window's first pixel: y and x may lie outside of the map
};
/// Place number r of a window, counted row by row over the images.
inline Place place_of(const Window& w, int64_t r) {
  const int64_t across = w.out_width(), down = w.out_height();
  return {r / (across * down), r / across % down * w.stride - w.padding, r % across * w.stride - w.padding};
}

struct Range {
  int64_t begin, end;
};
/// Those of the positions `first` + 0 .. kernel - 1 that lie in [0, n), counted from `first`.
inline Range inside(int64_t first, int64_t kernel, int64_t n) {
  const int64_t begin = std::min(kernel, std::max<int64_t>(0, -first));
  return {begin, std::max(begin, std::min(kernel, n - first))};
}

/// Along one axis, the places of the window that hold pixel p.
inline Range places_over(int64_t p, int64_t places, const Window& w) {
  const int64_t low = p + w.padding - w.kernel + 1;
  return {low <= 0 ? 0 : (low + w.stride - 1) / w.stride, std::min(places, (p + w.padding) / w.stride + 1)};
}

/// Calls f(place, tap) for every place of the window over a pixel (counted over the images), where `tap` is the pixel's
/// number in the window, row by row.
template <class F> void windows_over(const Window& w, int64_t pixel, F f) {
  const int64_t x = pixel % w.width, y = pixel / w.width % w.height, image = pixel / (w.width * w.height);
  const Range down = places_over(y, w.out_height(), w), across = places_over(x, w.out_width(), w);
  for (int64_t i = down.begin; i < down.end; i++)
    for (int64_t j = across.begin; j < across.end; j++)
      f((image * w.out_height() + i) * w.out_width() + j, (y + w.padding - i * w.stride) * w.kernel + x + w.padding - j * w.stride);
}

}  // namespace
}  // namespace stflow
