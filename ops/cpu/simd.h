// Sixteen numbers at a time, the same sixteen on every instruction set, so that sums are added in the same order
// everywhere. Included only by ops/cpu/*.cpp, which are compiled once per instruction set (STFLOW_ISA is the tag).
// Everything here is inline into unnamed namespaces: code of one set must never be linked into another.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
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

/// The registers of this instruction set.
#if defined(__AVX512F__)
constexpr int kRegister = 64;  // bytes
#elif defined(__AVX2__)
constexpr int kRegister = 32;
#else
constexpr int kRegister = 16;
#endif
template <class T> struct RegOf { typedef T type __attribute__((vector_size(kRegister))); };
template <class T> using Reg = typename RegOf<T>::type;

constexpr int kLanes = 16;
template <class T> constexpr int kParts = kLanes* int(sizeof(T)) / kRegister;
/// Sixteen numbers in one or more registers. (A g++ vector of sixteen, wider than a register, would live in memory.)
template <class T> struct Vec {
  Reg<T> part[kParts<T>];

  STFLOW_INLINE T operator[](int i) const { return reinterpret_cast<const T*>(part)[i]; }
  STFLOW_INLINE T& operator[](int i) { return reinterpret_cast<T*>(part)[i]; }
};

/// f(Reg...) on each register of the vectors.
template <class T, class F, class... V> STFLOW_INLINE Vec<T> by_register(F f, const V&... v) {
  Vec<T> to;
#pragma GCC unroll 8
  for (int i = 0; i < kParts<T>; i++) to.part[i] = f(v.part[i]...);
  return to;
}

template <class T> STFLOW_INLINE Vec<T> splat(T x) {
  Vec<T> v;
#pragma GCC unroll 8
  for (int i = 0; i < kParts<T>; i++) v.part[i] = x - Reg<T>{};
  return v;
}
template <class T> STFLOW_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
#pragma GCC unroll 8
  for (int i = 0; i < kParts<T>; i++) std::memcpy(&v.part[i], p + i * kRegister / int(sizeof(T)), kRegister);
  return v;
}
template <class T> STFLOW_INLINE void store(T* p, Vec<T> v) {
#pragma GCC unroll 8
  for (int i = 0; i < kParts<T>; i++) std::memcpy(p + i * kRegister / int(sizeof(T)), &v.part[i], kRegister);
}

/// The first n < 16 numbers at p, then `rest`.
template <class T> STFLOW_INLINE Vec<T> load_part(const T* p, int n, T rest = 0) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {{(Reg<T>)_mm512_mask_loadu_ps(_mm512_set1_ps(rest), __mmask16((1u << n) - 1), p)}};
#endif
  T all[kLanes];
  for (int i = 0; i < kLanes; i++) all[i] = i < n ? p[i] : rest;
  return load(all);
}
template <class T> STFLOW_INLINE void store_part(T* p, Vec<T> v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v.part[0]);
#endif
  T all[kLanes];
  store(all, v);
  for (int i = 0; i < n; i++) p[i] = all[i];
}

template <class T> using Scalar = std::type_identity_t<T>;  // converts to the vector's number type
template <class T> STFLOW_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x + y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x - y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x * y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x / y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> operator-(Vec<T> a) {
  return by_register<T>([](Reg<T> x) STFLOW_INLINE_LAMBDA { return -x; }, a);
}
template <class T> STFLOW_INLINE Vec<T> operator+(Vec<T> a, Scalar<T> b) { return a + splat<T>(b); }
template <class T> STFLOW_INLINE Vec<T> operator-(Vec<T> a, Scalar<T> b) { return a - splat<T>(b); }
template <class T> STFLOW_INLINE Vec<T> operator*(Vec<T> a, Scalar<T> b) { return a * splat<T>(b); }
template <class T> STFLOW_INLINE Vec<T> operator/(Vec<T> a, Scalar<T> b) { return a / splat<T>(b); }
template <class T> STFLOW_INLINE Vec<T> operator+(Scalar<T> a, Vec<T> b) { return splat<T>(a) + b; }
template <class T> STFLOW_INLINE Vec<T> operator-(Scalar<T> a, Vec<T> b) { return splat<T>(a) - b; }
template <class T> STFLOW_INLINE Vec<T> operator*(Scalar<T> a, Vec<T> b) { return splat<T>(a) * b; }
template <class T> STFLOW_INLINE Vec<T> operator/(Scalar<T> a, Vec<T> b) { return splat<T>(a) / b; }
template <class T, class U> STFLOW_INLINE Vec<T>& operator+=(Vec<T>& a, U b) { return a = a + b; }
template <class T, class U> STFLOW_INLINE Vec<T>& operator-=(Vec<T>& a, U b) { return a = a - b; }
template <class T, class U> STFLOW_INLINE Vec<T>& operator*=(Vec<T>& a, U b) { return a = a * b; }
template <class T, class U> STFLOW_INLINE Vec<T>& operator/=(Vec<T>& a, U b) { return a = a / b; }

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
/// a > b ? a : b, so that NaN in b stays; likewise min.
template <class T> STFLOW_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x > y ? x : y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return by_register<T>([](Reg<T> x, Reg<T> y) STFLOW_INLINE_LAMBDA { return x < y ? x : y; }, a, b);
}
template <class T> STFLOW_INLINE Vec<T> square_root(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {{(Reg<T>)_mm512_sqrt_ps((__m512)v.part[0])}};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return by_register<T>([](Reg<T> x) STFLOW_INLINE_LAMBDA { return (Reg<T>)_mm256_sqrt_ps((__m256)x); }, v);
#endif
  for (int i = 0; i < kLanes; i++) v[i] = std::sqrt(v[i]);
  return v;
}
/// The first and the second half of a register.
template <class R> STFLOW_INLINE auto lower(R v) {
  if constexpr (sizeof v / sizeof v[0] == 16) return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  else if constexpr (sizeof v / sizeof v[0] == 8) return __builtin_shufflevector(v, v, 0, 1, 2, 3);
  else return __builtin_shufflevector(v, v, 0, 1);
}
template <class R> STFLOW_INLINE auto upper(R v) {
  if constexpr (sizeof v / sizeof v[0] == 16) return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  else if constexpr (sizeof v / sizeof v[0] == 8) return __builtin_shufflevector(v, v, 4, 5, 6, 7);
  else return __builtin_shufflevector(v, v, 2, 3);
}

STFLOW_INLINE Vec<double> widen(Vec<double> v) { return v; }
STFLOW_INLINE Vec<double> widen(Vec<float> v) {
  Vec<double> to;
#pragma GCC unroll 8
  for (int i = 0; i < kParts<double>; i += 2) {
    to.part[i] = __builtin_convertvector(lower(v.part[i / 2]), Reg<double>);
    to.part[i + 1] = __builtin_convertvector(upper(v.part[i / 2]), Reg<double>);
  }
  return to;
}

/// f over the lanes, always by the same tree: lane i with i + 8, then + 4, + 2, + 1.
template <class R, class F> STFLOW_INLINE auto fold_register(R v, F f) {
  if constexpr (sizeof v / sizeof v[0] == 2) return f(v[0], v[1]);
  else return fold_register(f(lower(v), upper(v)), f);
}
template <class T, class F> STFLOW_INLINE T fold(Vec<T> v, F f) {
  if constexpr (kParts<T> >= 8)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) v.part[i] = f(v.part[i], v.part[i + 4]);
  if constexpr (kParts<T> >= 4) v.part[0] = f(v.part[0], v.part[2]), v.part[1] = f(v.part[1], v.part[3]);
  if constexpr (kParts<T> >= 2) v.part[0] = f(v.part[0], v.part[1]);
  return fold_register(v.part[0], f);
}
/// The sum of the lanes and the largest of them.
template <class T> STFLOW_INLINE T sum(Vec<T> v) {
  return fold(v, [](auto a, auto b) STFLOW_INLINE_LAMBDA { return a + b; });
}
template <class T> STFLOW_INLINE T largest(Vec<T> v) {
  return fold(v, [](auto a, auto b) STFLOW_INLINE_LAMBDA { return a > b ? a : b; });
}

/// Calls f(begin, lanes) over [0, n) in steps of sixteen; lanes is 16 but for the last piece.
template <class F> STFLOW_INLINE void lanes_of(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, int(n - i));
}
template <class T> STFLOW_INLINE Vec<T> load_n(const T* p, int lanes, T rest = 0) {
  return lanes == kLanes ? load(p) : load_part(p, lanes, rest);
}
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
