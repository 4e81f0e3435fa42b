// Floor for ViT-L/16 at batch 32 (197 tokens of 1,024) on an H100 (3.0 TB/s): the mean reads x, 25.8 MB, 8.6 us; backward reads and
// writes dx, 51.6 MB, 17.2 us.
#include "ops/pool_tokens.h"

#include "engine/cuda/cuda.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;

// One thread a number of the result: neighbours read neighbouring columns, tokens are added in their order.
__global__ void forward_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t n, int64_t tokens, int64_t d, int64_t prefix,
                               int64_t width, bool with_cls) {
  const int64_t e = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (e >= n) return;
  const int64_t column = e % width;
  const float* from = x + e / width * tokens * d + column % d;
  if (with_cls && column < d) {
    y[e] = from[0];
    return;
  }
  float sum = 0;
  for (int64_t t = prefix; t < tokens; t++) sum += from[t * d];
  y[e] = sum * (1 / float(tokens - prefix));
}

__global__ void backward_kernel(const float* __restrict__ dy, float* __restrict__ dx, int64_t n, int64_t tokens, int64_t d, int64_t prefix,
                                int64_t width, bool with_cls, bool with_mean) {
  const int64_t e = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (e >= n) return;
  const int64_t i = e % d, t = e / d % tokens;
  const float* from = dy + e / (tokens * d) * width;
  if (with_cls && t == 0) dx[e] += from[i];
  if (with_mean && t >= prefix) dx[e] += from[width - d + i] * (1 / float(tokens - prefix));
}

}  // namespace

template <> void pool_tokens_forward(Cuda on, Tensor x, int64_t prefix, Pooling pooling, Tensor y) {
  launch("pool_tokens_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, x.as<float>(), y.as<float>(),
         y.size(), x.shape[1], x.shape[2], prefix, y.cols(), pooling != Pooling::mean);
}

template <> void pool_tokens_backward(Cuda on, Tensor dy, int64_t prefix, Pooling pooling, Tensor dx) {
  launch("pool_tokens_backward", backward_kernel, {blocks_for(dx.size(), kThreads), kThreads, 0, stream_of(on)}, dy.as<float>(),
         dx.as<float>(), dx.size(), dx.shape[1], dx.shape[2], prefix, dy.cols(), pooling != Pooling::mean, pooling != Pooling::cls);
}

}  // namespace stflow
