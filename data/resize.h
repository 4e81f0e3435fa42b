// Patches to the size an encoder wants, byte for byte as Pillow and torchvision make them: encoders were trained on those bytes.
#pragma once
#include "data/image.h"

namespace stflow {

enum class PixelFilter : uint8_t { bilinear, bicubic };

/// The image resampled to width x height (at least 1 x 1) as Pillow's Image.resize() does it: along the rows, then along the columns, a
/// filter as wide as the reduction asks for, weights in fixed point, bytes in between. An axis that keeps its size is not touched.
Image resize(const Image& image, int64_t width, int64_t height, PixelFilter filter);

/// torchvision's Resize(size): the shorter side becomes `size`, the longer one keeps the ratio (rounded down).
Image resize_shorter(Image image, int64_t size, PixelFilter filter);

/// torchvision's CenterCrop(size): size x size pixels in the middle; what is missing is black.
Image centre_crop(Image image, int64_t size);

/// resize_shorter() unless `resize` is 0, then centre_crop() unless `crop` is 0. An image that has these sizes goes through as it is.
Image preprocess(Image image, int64_t resize, PixelFilter filter, int64_t crop);

}  // namespace stflow
