// Sixteen numbers at a time, the same sixteen on every instruction set, so that sums are added in the same order
// everywhere. Included only by ops/cpu/*.cpp, which are compiled once per instruction set (STFLOW_ISA is the tag).
// Everything here is inline into unnamed namespaces: code of one set must never be linked into another.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "engine/device.h"
#include "engine/tensor.h"
#include "engine/threads.h"

#define STFLOW_INLINE inline __attribute__((always_inline))

namespace stflow {
using ThisIsa = STFLOW_ISA;  // the tag that this compilation defines

namespace {

constexpr int kLanes = 16;
template <class T> struct VecOf { typedef T type __attribute__((vector_size(kLanes * sizeof(T)))); };
template <class T> using Vec = typename VecOf<T>::type;
using VecI = VecOf<int32_t>::type;

template <class T> STFLOW_INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }
template <class T> STFLOW_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T> STFLOW_INLINE void store(T* p, Vec<T> v) { std::memcpy(p, &v, sizeof v); }
/// The first n < 16 numbers at p, then `rest`.
template <class T> STFLOW_INLINE Vec<T> load_part(const T* p, int n, T rest = 0) {
  Vec<T> v = splat(rest);
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}
template <class T> STFLOW_INLINE void store_part(T* p, Vec<T> v, int n) {
  for (int i = 0; i < n; i++) p[i] = v[i];
}
#if defined(__AVX512F__)
template <> STFLOW_INLINE Vec<float> load_part(const float* p, int n, float rest) {
  return (Vec<float>)_mm512_mask_loadu_ps(_mm512_set1_ps(rest), __mmask16((1u << n) - 1), p);
}
template <> STFLOW_INLINE void store_part(float* p, Vec<float> v, int n) {
  _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
}
#endif

/// a * b + c; fused where the instruction set has it (not on Plain).
template <class T> STFLOW_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return a * b + c; }
#if defined(__AVX512F__)
template <> STFLOW_INLINE Vec<float> fma<float>(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif defined(__AVX2__)
template <> STFLOW_INLINE Vec<float> fma<float>(Vec<float> a, Vec<float> b, Vec<float> c) {
  union Halves { Vec<float> v; __m256 h[2]; } x{a}, y{b}, z{c};
  z.h[0] = _mm256_fmadd_ps(x.h[0], y.h[0], z.h[0]);
  z.h[1] = _mm256_fmadd_ps(x.h[1], y.h[1], z.h[1]);
  return z.v;
}
#endif

/// The sum of the lanes, always by the same tree: i + (i + 8), then + 4, + 2, + 1.
template <class T> STFLOW_INLINE T sum(Vec<T> v) {
  const auto a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  const auto c = __builtin_shufflevector(b, b, 0, 1) + __builtin_shufflevector(b, b, 2, 3);
  return c[0] + c[1];
}
template <class T> STFLOW_INLINE Vec<T> max(Vec<T> a, Vec<T> b) { return a > b ? a : b; }
template <class T> STFLOW_INLINE Vec<T> min(Vec<T> a, Vec<T> b) { return a < b ? a : b; }

/// Calls f(begin, lanes) over [0, n) in steps of sixteen; lanes is 16 but for the last piece.
template <class F> STFLOW_INLINE void lanes_of(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, int(n - i));
}
template <class T> STFLOW_INLINE Vec<T> load_n(const T* p, int lanes, T rest = 0) { return lanes == kLanes ? load(p) : load_part(p, lanes, rest); }
template <class T> STFLOW_INLINE void store_n(T* p, Vec<T> v, int lanes) {
  if (lanes == kLanes) store(p, v);
  else store_part(p, v, lanes);
}

/// Rows per piece so that a piece is worth waking a thread for (about 30 thousand numbers).
STFLOW_INLINE int64_t row_grain(int64_t cols) { return 1 + 32768 / (cols > 0 ? cols : 1); }

}  // namespace
}  // namespace stflow
