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
#define STFLOW_INLINE_LAMBDA __attribute__((always_inline))

namespace stflow {
using ThisIsa = STFLOW_ISA;  // the tag that this compilation defines

namespace {

constexpr int kLanes = 16;
template <class T> struct VecOf { typedef T type __attribute__((vector_size(kLanes * sizeof(T)))); };
template <class T> using Vec = typename VecOf<T>::type;
using VecI = VecOf<int32_t>::type;

/// The registers of this instruction set. g++ lowers + - * / on Vec to them well, but not comparisons, selections and calls
/// of intrinsics: those are written on Reg and applied to a Vec by by_register().
#if defined(__AVX512F__)
constexpr int kRegister = 64;  // bytes
#elif defined(__AVX2__)
constexpr int kRegister = 32;
#else
constexpr int kRegister = 16;
#endif
template <class T> struct RegOf { typedef T type __attribute__((vector_size(kRegister))); };
template <class T> using Reg = typename RegOf<T>::type;
template <class T> constexpr int kParts = kLanes * int(sizeof(T)) / kRegister;

/// Register i of the ones that v consists of.
template <class T> STFLOW_INLINE Reg<T> part(const Vec<T>& v, int i) {
  Reg<T> r;
  std::memcpy(&r, reinterpret_cast<const char*>(&v) + i * kRegister, sizeof r);
  return r;
}
template <class T> STFLOW_INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }
template <class T> STFLOW_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T> STFLOW_INLINE void store(T* p, Vec<T> v) {
#pragma GCC unroll 8
  for (int i = 0; i < kParts<T>; i++) {  // a memcpy of the whole would go through the stack
    const Reg<T> r = part<T>(v, i);
    std::memcpy(p + i * kRegister / int(sizeof(T)), &r, sizeof r);
  }
}
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

/// f(Reg...) on each part of the vectors.
template <class T, class F, class... V> STFLOW_INLINE Vec<T> by_register(F f, const V&... v) {
  if constexpr (kParts<T> == 1) {
    return f(v...);
  } else {
    Vec<T> to;
#pragma GCC unroll 8
    for (int i = 0; i < kParts<T>; i++) {
      const Reg<T> y = f(part<T>(v, i)...);
      std::memcpy(reinterpret_cast<char*>(&to) + i * kRegister, &y, sizeof y);
    }
    return to;
  }
}

/// a * b + c; fused where the instruction set has it (not on Plain).
template <class T> STFLOW_INLINE Reg<T> multiply_add(Reg<T> a, Reg<T> b, Reg<T> c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Reg<T>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else return (Reg<T>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (Reg<T>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else return (Reg<T>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}
template <class T> STFLOW_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return by_register<T>([](Reg<T> x, Reg<T> y, Reg<T> z) STFLOW_INLINE_LAMBDA { return multiply_add<T>(x, y, z); }, a, b, c);
}

/// The sum of the lanes, always by the same tree: i + (i + 8), then + 4, + 2, + 1.
template <class T> STFLOW_INLINE T sum(Vec<T> v) {
  const auto a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  const auto c = __builtin_shufflevector(b, b, 0, 1) + __builtin_shufflevector(b, b, 2, 3);
  return c[0] + c[1];
}
/// a > b ? a : b, so that NaN in b stays; likewise min.
template <class T> STFLOW_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x > y ? x : y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x < y ? x : y; }, a, b);
}

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

/// f(i, lanes) over [0, n) on all threads, for what is done number by number.
template <class F> void each_lanes(int64_t n, F f) {
  parallel_for(n, 32768, [=](int64_t begin, int64_t end) { lanes_of(end - begin, [&](int64_t i, int l) { f(begin + i, l); }); });
}

/// Rows per piece so that a piece is worth waking a thread for (about 30 thousand numbers).
STFLOW_INLINE int64_t row_grain(int64_t cols) { return 1 + 32768 / (cols > 0 ? cols : 1); }

}  // namespace
}  // namespace stflow
