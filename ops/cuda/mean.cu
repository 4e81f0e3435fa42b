// Floor at 4 inputs of 10,000 x 128 on an H100 (3.0 TB/s): 25.6 MB, 8.5 us.
#include "ops/mean.h"

#include "engine/cuda/cuda.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

struct Inputs {
  const float* x[kMaxInputs];
};

__global__ void forward_kernel(Inputs in, int count, float* __restrict__ y, int64_t n) {
  const int64_t i = element();
  if (i >= n) return;
  float sum = in.x[0][i];
  for (int k = 1; k < count; k++) sum += in.x[k][i];
  y[i] = sum / float(count);
}

__global__ void backward_kernel(const float* __restrict__ dy, int count, float* __restrict__ dx, int64_t n) {
  const int64_t i = element();
  if (i < n) dx[i] += dy[i] / float(count);
}

}  // namespace

template <> void mean_forward(Cuda on, const Tensor* x, int count, Tensor y) {
  Inputs in{};
  for (int k = 0; k < count; k++) in.x[k] = x[k].as<float>();
  launch("mean_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, in, count, y.as<float>(), y.size());
}

template <> void mean_backward(Cuda on, Tensor dy, int count, Tensor dx) {
  launch("mean_backward", backward_kernel, {blocks_for(dy.size(), kThreads), kThreads, 0, stream_of(on)}, dy.as<float>(), count,
         dx.as<float>(), dy.size());
}

}  // namespace stflow
