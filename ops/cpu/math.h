// exp, sigmoid, SiLU, the normal distribution function and GELU: in float32 by polynomials (our own minimax fits) on whole
// registers, in float64, which only serves gradient checks, by libm number by number. NaN stays NaN.
#pragma once
#include "ops/cpu/simd.h"

namespace stflow {
namespace {
namespace on_register {

using Bits = Reg<uint32_t>;
STFLOW_INLINE Reg<float> all(float x) { return x - Reg<float>{}; }

/// c[0] + c[1] x + ... + c[N-1] x^(N-1) by Horner's rule.
template <int N> STFLOW_INLINE Reg<float> polynomial(Reg<float> x, const float (&c)[N]) {
  Reg<float> p = all(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; i--) p = multiply_add<float>(p, x, all(c[i]));
  return p;
}

STFLOW_INLINE Reg<float> exp(Reg<float> x) {
  const auto vanishes = x < -87.33f;  // comparisons that let NaN pass
  x = x > 88.37f ? all(88.37f) : x;
  // x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then is in the low bits.
  const Reg<float> shifted = multiply_add<float>(x, all(1.44269504f), all(12582912.0f)), n = shifted - 12582912.0f;
  Reg<float> r = multiply_add<float>(n, all(-0.693359375f), x);  // ln 2 in two parts, the first exact in nine bits
  r = multiply_add<float>(n, all(2.12194440e-4f), r);
  constexpr float c[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f4p-5f, 0x1.123a20p-7f, 0x1.6a23c6p-10f};
  const Reg<float> e = multiply_add<float>(polynomial(r, c), r * r, r) + 1.0f;
  const Reg<float> y = (Reg<float>)((Bits)e + ((Bits)shifted << 23));  // times 2^n
  return vanishes ? Reg<float>{} : y;
}

/// 1 / x for x >= 1, within one unit in the last place. A division of whole AVX-512 registers holds up everything beside it (two
/// fifths of the samples of edge_hidden's forward waited for it), so there it is an estimate of 14 bits and a Newton step.
STFLOW_INLINE Reg<float> reciprocal(Reg<float> x) {
#if defined(__AVX512F__)
  x = (Reg<float>)_mm512_min_ps((__m512)all(0x1p+126f), (__m512)x);  // the step makes NaN of infinity; NaN stays
  const Reg<float> r = (Reg<float>)_mm512_rcp14_ps((__m512)x);
  return multiply_add<float>(r, multiply_add<float>(-x, r, all(1.0f)), r);
#else
  return 1.0f / x;
#endif
}

STFLOW_INLINE Reg<float> sigmoid(Reg<float> x) { return reciprocal(1.0f + exp(-x)); }
STFLOW_INLINE Reg<float> silu(Reg<float> x) { return x * reciprocal(1.0f + exp(-x)); }
STFLOW_INLINE Reg<float> silu(Reg<float> x, Reg<float>& derivative) {
  const Reg<float> e = exp(-x), s = reciprocal(1.0f + e), value = x * s;
  derivative = multiply_add<float>(value, e * s, s);  // e s = 1 - s without its cancellation
  return value;
}
STFLOW_INLINE Reg<float> silu_derivative(Reg<float> x) {
  Reg<float> derivative;
  silu(x, derivative);
  return derivative;
}

STFLOW_INLINE Reg<float> normal_cdf(Reg<float> x, Reg<float>& density) {
  const Reg<float> z = (Reg<float>)((Bits)x & 0x7fffffffu);
  const Reg<float> half = 0.5f * z, square = half * z;  // and what rounding took from it
#if defined(__FMA__)
  const Reg<float> lost = multiply_add<float>(half, z, -square);
#else
  const Reg<float> h = (Reg<float>)((Bits)z & ~0xfffu), l = z - h;  // twelve bits and the rest (Dekker)
  const Reg<float> lost = (0.5f * h * h - square + h * l) + 0.5f * l * l;
#endif
  Reg<float> e = exp(-square) * (1.0f - lost);
  e = z > 13.2f ? Reg<float>{} : e;  // where exp ends; infinity - infinity above
  // Phi(-z) e^(z^2 / 2) as a polynomial in 1 / (1 + 0.3 z), fitted on 0 <= z <= 14
  constexpr float c[] = {7.169775113721689e-06f, 0.11948767125129098f, 0.12192048576382296f,  0.0946828950468241f,  0.14253714973106427f,
                         -0.07650903778008936f,  0.22866248879826864f, -0.16916735298204152f, 0.038378559315303186f};
  const Reg<float> tail = polynomial(reciprocal(multiply_add<float>(all(0.3f), z, all(1.0f))), c) * e;
  density = e * 0.3989422804f;
  return x > 0 ? 1.0f - tail : tail;
}
STFLOW_INLINE Reg<float> gelu(Reg<float> x) {
  Reg<float> density;
  return x * normal_cdf(x, density);
}
STFLOW_INLINE Reg<float> gelu_derivative(Reg<float> x) {
  Reg<float> density;
  const Reg<float> cdf = normal_cdf(x, density);
  return multiply_add<float>(x, density, cdf);
}

}  // namespace on_register

/// f32(Reg<float>) on the registers, or f64(double) number by number.
template <class T, class F32, class F64> STFLOW_INLINE Vec<T> apply(Vec<T> x, F32 f32, F64 f64) {
  if constexpr (sizeof(T) == 4) {
    (void)f64;
    return by_register<float>(f32, x);
  } else {
    (void)f32;
    Vec<double> y;
    for (int i = 0; i < kLanes; i++) y[i] = f64(x[i]);
    return y;
  }
}
#define STFLOW_ON_REGISTER(f) [](Reg<float> v) STFLOW_INLINE_LAMBDA { return on_register::f(v); }

/// e^x, 1 ulp; in float32 0 below -87.33, the end of the normal numbers, and e^88.37 = 2.4e38 above 88.37.
template <class T> STFLOW_INLINE Vec<T> exp(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(exp), [](double v) { return ::exp(v); });
}

STFLOW_INLINE Vec<float> exp(Vec<float> x) { return exp<float>(x); }
STFLOW_INLINE Vec<double> exp(Vec<double> x) { return exp<double>(x); }

/// 1 / (1 + e^-x)
template <class T> STFLOW_INLINE Vec<T> sigmoid(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(sigmoid), [](double v) { return 1 / (1 + ::exp(-v)); });
}

/// x sigmoid(x) and its derivative.
template <class T> STFLOW_INLINE Vec<T> silu(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(silu), [](double v) { return v / (1 + ::exp(-v)); });
}
template <class T> STFLOW_INLINE Vec<T> silu_derivative(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(silu_derivative), [](double v) {
    const double s = 1 / (1 + ::exp(-v));
    return s * (1 + v * (1 - s));
  });
}

/// Both at the price of one.
template <class T> STFLOW_INLINE Vec<T> silu(Vec<T> x, Vec<T>& derivative) {
  if constexpr (sizeof(T) == 4) {
    Vec<T> value;
#pragma GCC unroll 8
    for (int i = 0; i < kParts<T>; i++) value.part[i] = on_register::silu(x.part[i], derivative.part[i]);
    return value;
  } else {
    derivative = silu_derivative<T>(x);
    return silu<T>(x);
  }
}

/// x Phi(x) with the normal distribution function Phi, the exact GELU, and its derivative. In float32 Phi has a relative
/// error below 1e-6 down to x = -13.2, also in the left tail where 1 + erf cancels.
template <class T> STFLOW_INLINE Vec<T> gelu(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(gelu), [](double v) { return 0.5 * v * ::erfc(-v * 0.70710678118654752440); });
}
template <class T> STFLOW_INLINE Vec<T> gelu_derivative(Vec<T> x) {
  return apply<T>(x, STFLOW_ON_REGISTER(gelu_derivative),
                  [](double v) { return 0.5 * ::erfc(-v * 0.70710678118654752440) + v * ::exp(-0.5 * v * v) * 0.39894228040143267794; });
}
#undef STFLOW_ON_REGISTER

}  // namespace
}  // namespace stflow
