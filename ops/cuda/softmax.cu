// Bytes: forward reads x and writes y, backward reads y, dy, dx and writes dx. It is no hot kernel of STFlow (neighbor_mix has its own).
#include "ops/softmax.h"

#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;

__global__ void forward_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t n) {
  x += int64_t(blockIdx.x) * n, y += int64_t(blockIdx.x) * n;
  float top = -INFINITY, sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) top = fmaxf(top, x[i]);
  top = block_max(top);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += y[i] = expf(x[i] - top);
  sum = block_sum(sum);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] /= sum;
}

__global__ void backward_kernel(const float* __restrict__ y, const float* __restrict__ dy, float* __restrict__ dx, int64_t n) {
  const int64_t row = int64_t(blockIdx.x) * n;
  float dot = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) dot += y[row + i] * dy[row + i];
  dot = block_sum(dot);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) dx[row + i] += y[row + i] * (dy[row + i] - dot);
}

}  // namespace

template <> void softmax_forward(Cuda on, Tensor x, Tensor y) {
  launch("softmax_forward", forward_kernel, {unsigned(x.rows()), kThreads, 0, stream_of(on)}, x.as<float>(), y.as<float>(), x.cols());
}

template <> void softmax_backward(Cuda on, Tensor y, Tensor dy, Tensor dx) {
  launch("softmax_backward", backward_kernel, {unsigned(y.rows()), kThreads, 0, stream_of(on)}, y.as<float>(), dy.as<float>(),
         dx.as<float>(), y.cols());
}

}  // namespace stflow
