// What a convolutional checkpoint holds becomes what its network here computes with.
#pragma once
#include "engine/weights.h"

namespace stflow {

/// A ResNet with torchvision's names: each convolution (out, in, k, k) becomes `<conv>.weight` (out, k, k, in) and `<conv>.bias`
/// with its batch norm (running statistics, eps of the metadata) folded in, computed in float64; `downsample.0` and `.1` become
/// `downsample`. Stages beyond the metadata's `stages` are left out.
Weights folded_resnet(const Weights& file);
/// A Swin with timm's names and CTransPath's stem: the stem's convolutions become `patch_embed.proj.{0,1,2}` likewise; the columns of
/// `downsample` (norm and reduction), which come as (x, y, channel), are sorted as unfold() makes them: (y, x, channel).
Weights folded_swin(const Weights& file);

}  // namespace stflow
