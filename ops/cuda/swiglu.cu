// Floor at 10,000 rows of m = 128 on an H100 (3.0 TB/s): forward reads u and writes y, 15.4 MB, 5.1 us; backward reads u, dy, du and
// writes du, 36 MB, 12 us. In bf16 half of forward's.
#include "ops/swiglu.h"

#include "ops/cuda/stored.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

template <class From, class To> __global__ void forward_kernel(const From* __restrict__ u, To* __restrict__ y, int64_t n, int64_t m) {
  const int64_t i = element();
  if (i >= n) return;
  const int64_t at = i / m * 2 * m + i % m;
  const float gate = loaded(u[at]);
  store(y + i, gate / (1 + expf(-gate)) * loaded(u[at + m]));
}

__global__ void backward_kernel(const float* __restrict__ u, const float* __restrict__ dy, float* __restrict__ du, int64_t n, int64_t m) {
  const int64_t i = element();
  if (i >= n) return;
  const int64_t at = i / m * 2 * m + i % m;
  const float x = u[at], s = 1 / (1 + expf(-x)), value = x * s;
  du[at] += dy[i] * u[at + m] * (s + value - value * s);  // silu' = s + x s (1 - s)
  du[at + m] += dy[i] * value;
}

}  // namespace

template <> void swiglu_forward(Cuda on, Tensor u, Tensor y) {
  by_storage(u.type, [&](auto from) {
    by_storage(y.type, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      launch("swiglu_forward", forward_kernel<From, To>, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, u.as<From>(),
             y.as<To>(), y.size(), y.cols());
    });
  });
}

template <> void swiglu_backward(Cuda on, Tensor u, Tensor dy, Tensor du) {
  launch("swiglu_backward", backward_kernel, {blocks_for(dy.size(), kThreads), kThreads, 0, stream_of(on)}, u.as<float>(), dy.as<float>(),
         du.as<float>(), dy.size(), dy.cols());
}

}  // namespace stflow
