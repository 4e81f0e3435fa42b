#pragma once
#include "ops/activation.h"

namespace stflow {

/// y = activation(x W^T + b): x (..., in), weight (out, in) as PyTorch keeps it, bias (out) or missing, y (..., out).
Var linear(Var x, Var weight, Var bias, Activation activation = Activation::none);

/// Packs `weight` into `packed` (linear_packed_bytes) for linear_forward.
template <class B> void linear_pack(B, Tensor weight, void* packed);
/// `pre` receives what the activation is applied to, unless null.
template <class B> void linear_forward(B, Tensor x, Tensor bias, Activation activation, const void* packed, Tensor y, void* pre);
/// Adds into dx, dweight, dbias (each may be absent). Where there is an activation, dy becomes the gradient of `pre` in place.
/// `scratch` holds linear_scratch_bytes.
template <class B>
void linear_backward(B, Tensor x, Tensor weight, Activation activation, const void* pre, Tensor dy, Tensor dx, Tensor dweight, Tensor dbias,
                     void* scratch);

size_t linear_packed_bytes(const Tensor& weight);
size_t linear_scratch_bytes(const Tensor& x, const Tensor& weight);

}  // namespace stflow
