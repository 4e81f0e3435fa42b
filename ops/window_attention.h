#pragma once
#include "engine/tape.h"
#include "ops/window_grid.h"

namespace stflow {

/// Multi-head attention within the windows of a square map (Liu et al., Swin Transformer, 2021). qkv (images, side x side, 3 d), cut
/// as attention() does; `bias` ((2 window - 1)^2, heads) is added to the scores by the offset from key to query, row
/// (dy + window - 1) (2 window - 1) + dx + window - 1. The windows begin `shift` cells further and wrap around; cells that are
/// neighbours only by that do not see each other. Result (images, side x side, d).
Var window_attention(Var qkv, Var bias, int heads, int window, int shift);

/// `scratch` holds window_attention_scratch() numbers.
template <class B> void window_attention_forward(B, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor out, void* scratch);
/// Adds into dqkv and dbias, either of which may be absent.
template <class B>
void window_attention_backward(B, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor dout, Tensor dqkv, Tensor dbias,
                               void* scratch);

/// Pieces into which the windows of all images are cut on the CPU: depends on the shape only, so the order of addition is fixed.
constexpr int64_t window_pieces(int64_t windows) { return windows < 32 ? windows : 32; }
int64_t window_attention_scratch(Device device, const Tensor& qkv, int heads, const WindowGrid& grid, bool backward);

}  // namespace stflow
