#pragma once
#include "engine/tape.h"
#include "ops/window.h"

namespace stflow {

/// The largest number under each place of a window, channel by channel, pixels outside of the map left out:
/// x (images, height x width, c) -> (images, out_height x out_width, c). Its gradient goes to the first of equals, row by row.
Var max_pool(Var x, const Window& window);

template <class B> void max_pool_forward(B, Tensor x, Window window, Tensor y);
/// Adds into dx.
template <class B> void max_pool_backward(B, Tensor x, Tensor y, Tensor dy, Window window, Tensor dx);

}  // namespace stflow
