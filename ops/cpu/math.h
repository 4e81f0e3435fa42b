// exp, sigmoid, SiLU, the normal distribution function and GELU on sixteen numbers: in float32 by polynomials (our own
// minimax fits), in float64, which only serves gradient checks, by libm lane by lane. NaN stays NaN.
#pragma once
#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// c[0] + c[1] x + ... + c[N-1] x^(N-1) by Horner's rule.
template <class T, int N> STFLOW_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
  Vec<T> p = splat(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) p = fma<T>(p, x, splat(c[i]));
  return p;
}

/// e^x, 1 ulp; the argument is clamped to [-87.33, 88.37], where the result is a normal float.
STFLOW_INLINE Vec<float> exp(Vec<float> x) {
  x = min<float>(splat(88.37f), max<float>(splat(-87.33f), x));  // in this order NaN passes
  // x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then is in the low bits.
  const Vec<float> shifted = fma<float>(x, splat(1.44269504f), splat(12582912.0f)), n = shifted - 12582912.0f;
  Vec<float> r = fma<float>(n, splat(-0.693359375f), x);  // ln 2 in two parts, the first exact in nine bits
  r = fma<float>(n, splat(2.12194440e-4f), r);
  static constexpr float c[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f4p-5f, 0x1.123a20p-7f, 0x1.6a23c6p-10f};
  const Vec<float> e = fma<float>(polynomial<float>(r, c), r * r, r) + 1.0f;
  return (Vec<float>)((VecI)e + ((VecI)shifted << 23));  // times 2^n
}
STFLOW_INLINE Vec<double> exp(Vec<double> x) {
  for (int i = 0; i < kLanes; i++) x[i] = ::exp(x[i]);
  return x;
}

/// 1 / (1 + e^-x)
template <class T> STFLOW_INLINE Vec<T> sigmoid(Vec<T> x) { return T(1) / (T(1) + exp(-x)); }

/// x sigmoid(x) and its derivative.
template <class T> STFLOW_INLINE Vec<T> silu(Vec<T> x) { return x / (T(1) + exp(-x)); }
template <class T> STFLOW_INLINE Vec<T> silu_derivative(Vec<T> x) {
  const Vec<T> s = sigmoid<T>(x);
  return s * (x * (T(1) - s) + T(1));
}

/// Phi(x), the normal distribution function, and `density` its derivative. In float32 the relative error is below 1e-6
/// down to x = -13, also in the left tail where 1 + erf cancels.
STFLOW_INLINE Vec<float> normal_cdf(Vec<float> x, Vec<float>& density) {
  const Vec<float> z = (Vec<float>)((VecI)x & 0x7fffffff);
  const Vec<float> half = z * 0.5f, square = half * z, lost = fma<float>(half, z, -square);
  const Vec<float> e = exp(-square) * (1.0f - lost);
  // Phi(-z) e^(z^2 / 2) as a polynomial in 1 / (1 + 0.3 z), fitted on 0 <= z <= 14
  static constexpr float c[] = {7.169775113721689e-06f, 0.11948767125129098f, 0.12192048576382296f, 0.0946828950468241f, 0.14253714973106427f,
                                -0.07650903778008936f,  0.22866248879826864f, -0.16916735298204152f, 0.038378559315303186f};
  const Vec<float> tail = polynomial<float>(1.0f / (1.0f + 0.3f * z), c) * e;
  density = e * 0.3989422804f;
  return x > 0 ? 1.0f - tail : tail;
}
STFLOW_INLINE Vec<double> normal_cdf(Vec<double> x, Vec<double>& density) {
  for (int i = 0; i < kLanes; i++) {
    density[i] = ::exp(-0.5 * x[i] * x[i]) * 0.39894228040143267794;
    x[i] = 0.5 * ::erfc(-x[i] * 0.70710678118654752440);
  }
  return x;
}

/// x Phi(x), the exact GELU, and its derivative.
template <class T> STFLOW_INLINE Vec<T> gelu(Vec<T> x) {
  Vec<T> density;
  return x * normal_cdf(x, density);
}
template <class T> STFLOW_INLINE Vec<T> gelu_derivative(Vec<T> x) {
  Vec<T> density;
  const Vec<T> cdf = normal_cdf(x, density);
  return fma<T>(x, density, cdf);
}

}  // namespace
}  // namespace stflow
