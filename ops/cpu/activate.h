// An Activation chosen at run time, on sixteen numbers.
#pragma once
#include "ops/activation.h"
#include "ops/cpu/math.h"

namespace stflow {
namespace {

template <class T> STFLOW_INLINE Vec<T> activate(Activation kind, Vec<T> x) {
  if (kind == Activation::gelu) return gelu<T>(x);
  if (kind == Activation::silu) return silu<T>(x);
  return max<T>(x, Vec<T>{});
}
template <class T> STFLOW_INLINE Vec<T> activation_slope(Activation kind, Vec<T> x) {
  if (kind == Activation::gelu) return gelu_derivative<T>(x);
  if (kind == Activation::silu) return silu_derivative<T>(x);
  return by_register<T>([](Reg<T> v) STFLOW_INLINE_LAMBDA { return v > 0 ? T(1) - Reg<T>{} : Reg<T>{}; }, x);
}

}  // namespace
}  // namespace stflow
