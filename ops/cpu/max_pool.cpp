#include "ops/max_pool.h"

#include <limits>

#include "ops/cpu/simd.h"
#include "ops/cpu/window.h"

namespace stflow {
namespace {

/// Calls f(pixel) for the pixels under place number r of a window that lie inside of the map, row by row.
template <class F> void pixels_under(const Window& w, int64_t r, F f) {
  const Place at = place_of(w, r);
  const Range down = inside(at.y, w.kernel, w.height), across = inside(at.x, w.kernel, w.width);
  for (int64_t ky = down.begin; ky < down.end; ky++)
    for (int64_t kx = across.begin; kx < across.end; kx++) f((at.image * w.height + at.y + ky) * w.width + at.x + kx);
}

}  // namespace

template <> void max_pool_forward(ThisIsa, Tensor x, Window w, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t c = x.cols();
    parallel_for(y.rows(), row_grain(w.kernel * w.kernel * c), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        T* to = y.as<T>() + r * c;
        std::fill(to, to + c, std::numeric_limits<T>::lowest());
        pixels_under(w, r, [&](int64_t pixel) {
          const T* from = x.as<T>() + pixel * c;
          lanes_of(c, [&](int64_t i, int l) { store_n<T>(to + i, max<T>(load_n(from + i, l), load_n(to + i, l)), l); });
        });
      }
    });
  });
}

// Each pixel asks the windows over it whether it is the first of their largest: no two threads write to the same number.
template <> void max_pool_backward(ThisIsa, Tensor x, Tensor y, Tensor dy, Window w, Tensor dx) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t c = x.cols();
    const T* from = x.as<T>();
    parallel_for(x.rows(), row_grain(w.kernel * w.kernel * w.kernel * c), [&](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; pixel++)
        windows_over(w, pixel, [&](int64_t r, int64_t) {
          for (int64_t i = 0; i < c; i++) {
            const T top = y.as<T>()[r * c + i];
            if (from[pixel * c + i] != top) continue;
            bool first = true;
            pixels_under(w, r, [&](int64_t other) { first &= other >= pixel || from[other * c + i] != top; });
            if (first) dx.as<T>()[pixel * c + i] += dy.as<T>()[r * c + i];
          }
        });
    });
  });
}

}  // namespace stflow
