// Floor for 32 images of 224 x 224 on an H100 (3.0 TB/s): 19.3 MB read and 19.3 MB written, 12.8 us; backward reads its target as well.
#include "ops/patchify.h"

#include "engine/cuda/cuda.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

/// Where number e of the patches lies in the image.
__device__ inline int64_t pixel_of(int64_t e, int64_t height, int64_t width, int64_t patch) {
  const int64_t x = e % patch, y = e / patch % patch, channel = e / (patch * patch) % 3, p = e / (3 * patch * patch);
  const int64_t across = width / patch, b = p / (across * (height / patch)), down = p / across % (height / patch);
  return ((b * height + down * patch + y) * width + p % across * patch + x) * 3 + channel;
}

__global__ void forward_kernel(const float* __restrict__ image, float* __restrict__ patches, int64_t n, int64_t height, int64_t width,
                               int64_t patch) {
  const int64_t e = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (e < n) patches[e] = image[pixel_of(e, height, width, patch)];
}

// Each pixel belongs to one patch: no two threads add to the same number.
__global__ void backward_kernel(const float* __restrict__ dpatches, float* __restrict__ dimage, int64_t n, int64_t height, int64_t width,
                                int64_t patch) {
  const int64_t e = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (e < n) dimage[pixel_of(e, height, width, patch)] += dpatches[e];
}

}  // namespace

template <> void patchify_forward(Cuda on, Tensor image, int patch, Tensor y) {
  launch("patchify_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, image.as<float>(), y.as<float>(),
         y.size(), image.shape[1], image.shape[2], patch);
}

template <> void patchify_backward(Cuda on, Tensor dy, int patch, Tensor dimage) {
  launch("patchify_backward", backward_kernel, {blocks_for(dy.size(), kThreads), kThreads, 0, stream_of(on)}, dy.as<float>(),
         dimage.as<float>(), dy.size(), dimage.shape[1], dimage.shape[2], patch);
}

}  // namespace stflow
