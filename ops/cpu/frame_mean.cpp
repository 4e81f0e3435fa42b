#include "ops/frame_mean.h"

#include "ops/cpu/dropout_mask.h"

namespace stflow {
namespace {

// Calls f(edge, frame, mask of its numbers).
template <class T, class F> void masked(const Dropout& d, int64_t edges, int64_t frames, int64_t width, F f) {
  parallel_for(edges, row_grain(frames * width), [&](int64_t begin, int64_t end) {
    alignas(64) T mask[kFrameMeanNumbers];  // of one edge
    for (int64_t i = 0; !d.active() && i < frames * width; i++) mask[i] = 1;
    for (int64_t e = begin; e < end; e++) {
      if (d.active()) dropout_mask(d, e * frames * width, frames * width, mask);
      for (int64_t o = 0; o < frames; o++) f(e, o, mask + o * width);
    }
  });
}

template <class T> void forward(const Dropout& d, const T* x, T* y, int64_t edges, int64_t frames, int64_t width) {
  const T share = T(1) / T(frames);
  masked<T>(d, edges, frames, width, [=](int64_t e, int64_t o, const T* mask) {
    const T* from = x + (e * frames + o) * width;
    T* to = y + e * width;
    lanes_of(width, [&](int64_t i, int l) {
      const Vec<T> v = load_n(from + i, l) * (load_n(mask + i, l) * share);
      store_n<T>(to + i, o ? load_n(to + i, l) + v : v, l);
    });
  });
}

template <class T> void backward(const Dropout& d, const T* dy, T* dx, int64_t edges, int64_t frames, int64_t width) {
  const T share = T(1) / T(frames);
  masked<T>(d, edges, frames, width, [=](int64_t e, int64_t o, const T* mask) {
    T* to = dx + (e * frames + o) * width;
    lanes_of(width, [&](int64_t i, int l) {
      store_n<T>(to + i, fma<T>(load_n(dy + e * width + i, l), load_n(mask + i, l) * share, load_n(to + i, l)), l);
    });
  });
}

}  // namespace

template <> void frame_mean_forward(ThisIsa, Tensor x, const Dropout& d, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    forward(d, x.as<T>(), y.as<T>(), x.shape[0] * x.shape[1], x.shape[2], x.shape[3]);
  });
}

template <> void frame_mean_backward(ThisIsa, const Dropout& d, Tensor dy, Tensor dx) {
  by_type(dx.type, [&](auto zero) {
    using T = decltype(zero);
    if (dx.data) backward(d, dy.as<T>(), dx.as<T>(), dx.shape[0] * dx.shape[1], dx.shape[2], dx.shape[3]);
  });
}

}  // namespace stflow
