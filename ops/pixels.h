// An image encoder's pixels: 8-bit RGB to the numbers that its network reads.
#pragma once
#include <cstdint>

#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

/// image (n, height, width, 3) f32 = table[channel][byte] of as many bytes, interleaved as the image is. `table` is (3, 256): what
/// ((x / 255) - mean) / std makes of each of them, so that each back end gives the same bits.
template <class B> void look_up_pixels(B, const uint8_t* rgb, Tensor table, Tensor image);

}  // namespace stflow
