// Floor for 32 images of 224 x 224 on an H100 (3.0 TB/s): 4.8 MB read and 19.3 MB written, 8 us. Over PCIe go the bytes, a quarter of what
// the numbers would be: 4.8 MB, 0.1 ms at 50 GB/s, beside the computation of the batch before.
#include "ops/pixels.h"

#include "ops/cuda/vector.h"

namespace stflow {
namespace {

__global__ void look_up_kernel(const uint8_t* __restrict__ rgb, const float* __restrict__ table, float* __restrict__ image, int64_t n) {
  const int64_t i = first_of_four();
  const auto value = [&](int64_t e) { return table[e % 3 * 256 + rgb[e]]; };
  if (i + 4 <= n) {
    Four four;
    for (int k = 0; k < 4; k++) four.v[k] = value(i + k);
    store_four(image + i, four);
  } else {
    for (int64_t e = i; e < n; e++) image[e] = value(e);
  }
}

}  // namespace

template <> void look_up_pixels(Cuda on, const uint8_t* rgb, Tensor table, Tensor image) {
  launch("look_up_pixels", look_up_kernel, by_four(on, image.size()), rgb, table.as<float>(), image.as<float>(), image.size());
}

}  // namespace stflow
