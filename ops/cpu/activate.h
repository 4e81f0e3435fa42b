// An Activation chosen at run time, on sixteen numbers.
#pragma once
#include "ops/activation.h"
#include "ops/cpu/math.h"

namespace stflow {
namespace {

/// f(what the activation does to a Vec), so that loops within f do not ask again which it is.
template <class T, class F> STFLOW_INLINE void with_activation(Activation kind, F f) {
  if (kind == Activation::gelu) f([](Vec<T> x) STFLOW_INLINE_LAMBDA { return gelu<T>(x); });
  else if (kind == Activation::silu) f([](Vec<T> x) STFLOW_INLINE_LAMBDA { return silu<T>(x); });
  else if (kind == Activation::relu) f([](Vec<T> x) STFLOW_INLINE_LAMBDA { return max<T>(x, Vec<T>{}); });
}
template <class T> STFLOW_INLINE Vec<T> activate(Activation kind, Vec<T> x) {
  with_activation<T>(kind, [&](auto f) STFLOW_INLINE_LAMBDA { x = f(x); });
  return x;
}
template <class T> STFLOW_INLINE Vec<T> activation_slope(Activation kind, Vec<T> x) {
  if (kind == Activation::gelu) return gelu_derivative<T>(x);
  if (kind == Activation::silu) return silu_derivative<T>(x);
  return by_register<T>([](Reg<T> v) STFLOW_INLINE_LAMBDA { return v > 0 ? T(1) - Reg<T>{} : Reg<T>{}; }, x);
}

}  // namespace
}  // namespace stflow
