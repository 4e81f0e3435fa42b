// A block of 256 threads on 256 numbers: its cost is the launch.
#include "ops/timestep.h"

#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__device__ double frequency(int64_t j, int64_t half) { return exp(-9.2103403719761836 * double(j) / double(half)); }  // ln(10000)

__global__ void forward_kernel(const float* __restrict__ t, float* __restrict__ y, int64_t half) {
  for (int64_t j = threadIdx.x; j < half; j += blockDim.x) {
    const double angle = double(*t) * frequency(j, half);
    y[j] = float(cos(angle)), y[half + j] = float(sin(angle));
  }
}

__global__ void backward_kernel(const float* __restrict__ t, const float* __restrict__ dy, float* __restrict__ dt, int64_t half) {
  double sum = 0;
  for (int64_t j = threadIdx.x; j < half; j += blockDim.x) {
    const double f = frequency(j, half), angle = double(*t) * f;
    sum += f * (double(dy[half + j]) * cos(angle) - double(dy[j]) * sin(angle));
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *dt += float(sum);
}

}  // namespace

template <> void timestep_forward(Cuda on, Tensor t, Tensor y) {
  launch("timestep_forward", forward_kernel, {1, kThreads, 0, stream_of(on)}, t.as<float>(), y.as<float>(), y.size() / 2);
}

template <> void timestep_backward(Cuda on, Tensor t, Tensor dy, Tensor dt) {
  launch("timestep_backward", backward_kernel, {1, kThreads, 0, stream_of(on)}, t.as<float>(), dy.as<float>(), dt.as<float>(),
         dy.size() / 2);
}

}  // namespace stflow
