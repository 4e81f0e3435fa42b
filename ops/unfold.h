#pragma once
#include "engine/tape.h"
#include "ops/window.h"

namespace stflow {

/// What each place of a window sees (im2col): x (images, height x width, c) or (images, height, width, c) ->
/// (images, out_height x out_width, kernel x kernel x c), each row flattened as (y, x, channel), zeros beyond the border. linear()
/// after it is a convolution with a weight (out, kernel, kernel, c), on the packed matrix product; with stride = kernel it is
/// Swin's patch merging.
Var unfold(Var x, const Window& window);

template <class B> void unfold_forward(B, Tensor x, Window window, Tensor y);
/// Adds into dx.
template <class B> void unfold_backward(B, Tensor dy, Window window, Tensor dx);

}  // namespace stflow
