#include "ops/adamw.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

template <class T> STFLOW_INLINE Vec<T> square_root(Vec<T> v) {
  for (int i = 0; i < kLanes; i++) v[i] = std::sqrt(v[i]);
  return v;
}
#if defined(__AVX512F__)
template <> STFLOW_INLINE Vec<float> square_root<float>(Vec<float> v) { return (Vec<float>)_mm512_sqrt_ps((__m512)v); }
#elif defined(__AVX2__)
template <> STFLOW_INLINE Vec<float> square_root<float>(Vec<float> v) {
  union Halves { Vec<float> v; __m256 h[2]; } x{v};
  x.h[0] = _mm256_sqrt_ps(x.h[0]);
  x.h[1] = _mm256_sqrt_ps(x.h[1]);
  return x.v;
}
#endif

// No fused multiply-add in this file: every operation rounds once, so all instruction sets give the same bits.
template <class T> void update(const AdamwStep& s, const T* g, T* w, T* m, T* v, T* ema, int64_t n) {
  const T scale = T(s.scale), one1 = T(1 - s.beta1), beta2 = T(s.beta2), one2 = T(1 - s.beta2);
  const T rate = T(s.rate), root = T(s.root), eps = T(s.eps), shrink = T(1 - s.decay), follow = T(s.ema);
  lanes_of(n, [&](int64_t i, int l) {
    const Vec<T> grad = load_n(g + i, l) * scale, old = load_n(m + i, l);
    const Vec<T> first = old + (grad - old) * one1;
    const Vec<T> second = load_n(v + i, l) * beta2 + grad * grad * one2;
    const Vec<T> value = load_n(w + i, l) * shrink - first / (square_root<T>(second) * root + eps) * rate;
    store_n<T>(m + i, first, l), store_n<T>(v + i, second, l), store_n<T>(w + i, value, l);
    if (ema) {
      const Vec<T> mean = load_n(ema + i, l);
      store_n<T>(ema + i, mean + (value - mean) * follow, l);
    }
  });
}

template <class T> STFLOW_INLINE double squares(const T* x, int64_t n) {
  Vec<double> sum_of{};
  lanes_of(n, [&](int64_t i, int l) {
    const Vec<double> d = __builtin_convertvector(load_n(x + i, l), Vec<double>);
    sum_of += d * d;
  });
  return sum<double>(sum_of);
}

}  // namespace

template <> void square_sums(ThisIsa, Tensor x, double* partial) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(x.size(), kSquarePiece, [&](int64_t begin, int64_t end) { partial[begin / kSquarePiece] = squares(x.as<T>() + begin, end - begin); });
  });
}

template <> void adamw_update(ThisIsa, const AdamwStep& s, Tensor grad, Tensor w, Tensor m, Tensor v, Tensor ema) {
  by_type(w.type, [&](auto zero) {
    using T = decltype(zero);
    update<T>(s, grad.as<T>(), w.as<T>(), m.as<T>(), v.as<T>(), ema.as<T>(), w.size());
  });
}

}  // namespace stflow
