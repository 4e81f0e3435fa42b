#include "ops/adamw.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

// No fused multiply-add in this file: every operation rounds once, so all instruction sets give the same bits.
template <class T> void update(const AdamwStep& s, double gradient, const T* g, T* w, T* m, T* v, T* ema, int64_t n) {
  const T scale = T(gradient), one1 = T(1 - s.beta1), beta2 = T(s.beta2), one2 = T(1 - s.beta2);
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
    const Vec<double> d = widen(load_n(x + i, l));
    sum_of += d * d;
  });
  return sum<double>(sum_of);
}

}  // namespace

template <> void square_sums(ThisIsa, Tensor x, double* partial) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(x.size(), kSquarePiece,
                 [&](int64_t begin, int64_t end) { partial[begin / kSquarePiece] = squares(x.as<T>() + begin, end - begin); });
  });
}

template <> void adamw_update(ThisIsa, const AdamwNow* now, const AdamwNorm* norm, const ParameterSet& params, OptimizerState& state) {
  if (!std::isfinite(norm->norm)) return;
  by_type(params.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto& all = params.all();
    parallel_for(int64_t(all.size()), 1, [&](int64_t i, int64_t) {
      const Parameter& p = all[size_t(i)];
      AdamwStep own = now->step;
      if (!p.decays) own.decay = 0;
      T* ema = state.has_ema() ? state.ema.as<T>() + p.offset : nullptr;
      update<T>(own, norm->scale, params.grads().as<T>() + p.offset, params.values().as<T>() + p.offset, state.m.as<T>() + p.offset,
                state.v.as<T>() + p.offset, ema, p.shape.size());
    });
  });
}

}  // namespace stflow
