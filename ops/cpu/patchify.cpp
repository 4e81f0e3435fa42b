#include "ops/patchify.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// Calls f(pixel, place) for every run of `patch` pixels: three interleaved channels at `pixel` of the image, and the first
/// channel's run at `place` of the patches; the other channels follow patch * patch numbers apart.
template <class F> void runs(Shape image, int64_t patch, F f) {
  const int64_t height = image[1], width = image[2], across = width / patch;
  parallel_for(image[0] * height, row_grain(3 * width), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t b = row / height, y = row % height;
      for (int64_t x = 0; x < across; x++)
        f((row * width + x * patch) * 3, ((b * (height / patch) + y / patch) * across + x) * 3 * patch * patch + y % patch * patch);
    }
  });
}

}  // namespace

template <> void patchify_forward(ThisIsa, Tensor image, int patch, Tensor y) {
  by_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = image.as<T>();
    T* to = y.as<T>();
    runs(image.shape, patch, [=](int64_t pixel, int64_t place) {
      for (int channel = 0; channel < 3; channel++)
        for (int x = 0; x < patch; x++) to[place + channel * patch * patch + x] = from[pixel + 3 * x + channel];
    });
  });
}

template <> void patchify_backward(ThisIsa, Tensor dy, int patch, Tensor dimage) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const T* from = dy.as<T>();
    T* to = dimage.as<T>();
    runs(dimage.shape, patch, [=](int64_t pixel, int64_t place) {
      for (int channel = 0; channel < 3; channel++)
        for (int x = 0; x < patch; x++) to[pixel + 3 * x + channel] += from[place + channel * patch * patch + x];
    });
  });
}

}  // namespace stflow
