// Floor at 10,000 x 128 on an H100 (3.0 TB/s): reads x and writes y, 10.2 MB, 3.4 us; one draw of Philox an element.
#include "ops/dropout.h"

#include "ops/cuda/dropout_mask.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void apply_kernel(DropoutMask mask, const float* __restrict__ x, float* __restrict__ y, int64_t n, bool add) {
  const int64_t i = element();
  if (i >= n) return;
  const float v = x[i] * mask(i);
  y[i] = add ? v + y[i] : v;
}

}  // namespace

template <> void dropout_apply(Cuda on, const Dropout& d, Tensor x, Tensor y, bool add) {
  launch("dropout_apply", apply_kernel, {blocks_for(x.size(), kThreads), kThreads, 0, stream_of(on)}, DropoutMask(d), x.as<float>(),
         y.as<float>(), x.size(), add);
}

}  // namespace stflow
