#include "ops/unfold.h"

#include "ops/cpu/simd.h"
#include "ops/cpu/window.h"

namespace stflow {

template <> void unfold_forward(ThisIsa, Tensor x, Window w, Tensor y) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t c = x.cols(), row = w.kernel * c;
    parallel_for(y.rows(), row_grain(y.cols()), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const Place at = place_of(w, r);
        const Range across = inside(at.x, w.kernel, w.width);
        T* to = y.as<T>() + r * y.cols();
        for (int64_t ky = 0; ky < w.kernel; ky++, to += row) {
          const bool empty = at.y + ky < 0 || at.y + ky >= w.height;
          const int64_t first = empty ? row : across.begin * c, last = empty ? row : across.end * c;
          std::fill(to, to + first, T(0));
          if (first < last) {
            const T* from = x.as<T>() + ((at.image * w.height + at.y + ky) * w.width + at.x) * c + first;
            std::copy(from, from + last - first, to + first);
          }
          std::fill(to + last, to + row, T(0));
        }
      }
    });
  });
}

// Each pixel adds up what the windows over it hold: no two threads write to the same number.
template <> void unfold_backward(ThisIsa, Tensor dy, Window w, Tensor dx) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t c = dx.cols();
    parallel_for(dx.rows(), row_grain(dy.cols()), [&](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; pixel++)
        windows_over(w, pixel, [&](int64_t r, int64_t tap) {
          const T* from = dy.as<T>() + r * dy.cols() + tap * c;
          T* to = dx.as<T>() + pixel * c;
          lanes_of(c, [&](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) + load_n(from + i, l), l); });
        });
    });
  });
}

}  // namespace stflow
