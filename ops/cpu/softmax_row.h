// One row of attention scores on its way through a softmax.
#pragma once
#include <limits>

#include "ops/cpu/math.h"
#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// Turns one row of raw scores into exp(scale * score - top) and returns their sum.
template <class T> STFLOW_INLINE T exponentials(T* row, int64_t keys, T scale, T top) {
  Vec<T> total{};
  const Vec<T> s = splat(scale), t = splat(-top);
  lanes_of(keys, [&](int64_t i, int l) {
    Vec<T> e = exp(fma<T>(load_n(row + i, l), s, t));
    store_n<T>(row + i, e, l);
    total += l == kLanes ? e : load_part(row + i, l);
  });
  return sum<T>(total);
}

template <class T> STFLOW_INLINE T largest(const T* row, int64_t keys) {
  Vec<T> m = splat(std::numeric_limits<T>::lowest());
  lanes_of(keys, [&](int64_t i, int l) { m = max<T>(m, load_n(row + i, l, std::numeric_limits<T>::lowest())); });
  return largest<T>(m);
}

template <class T> STFLOW_INLINE void multiply(T* row, int64_t n, T by) {
  lanes_of(n, [&](int64_t i, int l) { store_n<T>(row + i, load_n(row + i, l) * by, l); });
}

template <class T> STFLOW_INLINE T dot(const T* a, const T* b, int64_t n) {
  Vec<T> s{};
  lanes_of(n, [&](int64_t i, int l) { s = fma<T>(load_n(a + i, l), load_n(b + i, l), s); });
  return sum<T>(s);
}

/// to += by * from
template <class T> STFLOW_INLINE void add_scaled(const T* from, T by, T* to, int64_t n) {
  lanes_of(n, [&](int64_t i, int l) { store_n<T>(to + i, fma<T>(load_n(from + i, l), splat(by), load_n(to + i, l)), l); });
}

}  // namespace
}  // namespace stflow
