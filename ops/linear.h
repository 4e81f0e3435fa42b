#pragma once
#include "engine/storage.h"
#include "ops/activation.h"

namespace stflow {

/// y = activation(x W^T + b): x (..., in), weight (out, in) as PyTorch keeps it, bias (out) or missing, y (..., out).
/// Inference on the CPU takes large products of x (items, rows, in) by Strassen's algorithm, each item by itself (ops/gemm_strassen.h).
Var linear(Var x, Var weight, Var bias, Activation activation = Activation::none);

/// Packs `weight` into `packed` (linear_packed_bytes) for linear_forward; CUDA reads the weight itself and packs nothing.
template <class B> void linear_pack(B, Tensor weight, void* packed);
/// Rounds f32 numbers to the nearest of to's type, f16 or bf16, ties to even; on a GPU to bf16 alone.
template <class B> void linear_round(B, Tensor from, Tensor to);
/// Packs `weight` (out, in; f32, or f16 or bf16 already; in the host's memory) as it is held for inference: what ParameterSet::hold()
/// wants. On the CPU in f32, f16, bf16 or, as words of four 8-bit integers (ops/gemm_int8.h), in i32; for a GPU, in its memory, rows in f32
/// or bf16. Rounded to nearest even. `pool` is of the context's device.
Tensor linear_hold(const Context& context, const Tensor& weight, DType held, TensorPool& pool);
/// `pre` receives what the activation is applied to, unless null.
/// A packed `weight` (Tensor::packed) may be f16 or bf16. On a GPU x has weight's type; y, and a bias that no activation follows, are f32,
/// or bf16 with a weight in bf16.
template <class B>
void linear_forward(B, Tensor x, Tensor weight, Tensor bias, Activation activation, const void* packed, Tensor y, void* pre);
/// Adds into dx, dweight, dbias (each may be absent). Where there is an activation, dy becomes the gradient of `pre` in place.
/// `scratch` holds linear_scratch_bytes.
template <class B>
void linear_backward(B, Tensor x, Tensor weight, Activation activation, const void* pre, Tensor dy, Tensor dx, Tensor dweight, Tensor dbias,
                     void* scratch);

size_t linear_packed_bytes(Device, const Tensor& weight);
size_t linear_scratch_bytes(Device, const Tensor& x, const Tensor& weight);
/// Pieces of rows into which CUDA cuts the gradient of the bias: depends on the shape only, so the order of addition is fixed.
constexpr int64_t linear_bias_pieces(int64_t rows) { return rows < 64 ? 1 : rows < 8192 ? (rows + 63) / 64 : 128; }

}  // namespace stflow
