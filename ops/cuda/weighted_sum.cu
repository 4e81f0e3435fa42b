// The scalar of op tests: a sum of products; no kernel of the models.
#include "ops/weighted_sum.h"

#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

__global__ void forward_kernel(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ y, int64_t n) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += x[i] * weight[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *y = sum;
}

__global__ void backward_kernel(const float* __restrict__ weight, const float* __restrict__ dy, float* __restrict__ dx, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) dx[i] += *dy * weight[i];
}

}  // namespace

template <> void weighted_sum_forward(Cuda on, Tensor x, Tensor weight, Tensor y) {
  launch("weighted_sum_forward", forward_kernel, {1, 256, 0, stream_of(on)}, x.as<float>(), weight.as<float>(), y.as<float>(), x.size());
}

template <> void weighted_sum_backward(Cuda on, Tensor weight, Tensor dy, Tensor dx) {
  launch("weighted_sum_backward", backward_kernel, {blocks_for(dx.size(), 256), 256, 0, stream_of(on)}, weight.as<float>(), dy.as<float>(),
         dx.as<float>(), dx.size());
}

}  // namespace stflow
