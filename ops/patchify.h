#pragma once
#include "engine/tape.h"

namespace stflow {

/// Cuts images (images, height, width, 3) into squares of `patch` pixels: (images, patches, 3 x patch x patch), patches row by
/// row, each flattened as (channel, y, x) - the order of a convolution weight, so that linear() after it is a patch embedding.
/// Height and width must be multiples of `patch`.
Var patchify(Var image, int patch);

template <class B> void patchify_forward(B, Tensor image, int patch, Tensor y);
/// Adds into dimage.
template <class B> void patchify_backward(B, Tensor dy, int patch, Tensor dimage);

}  // namespace stflow
