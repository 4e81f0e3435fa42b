// Floor at 10,000 x 128 on an H100 (3.0 TB/s): forward reads x and writes y, 10.2 MB, 3.4 us; backward reads x, dy, dx and writes dx,
// 20.5 MB, 6.8 us. linear() applies its activation itself.
#include "ops/activation.h"

#include "ops/cuda/activate.h"
#include "ops/cuda/vector.h"

namespace stflow {
namespace {

__global__ void forward_kernel(Activation kind, const float* __restrict__ x, float* __restrict__ y, int64_t n) {
  const auto value = [=](float v) { return activate(kind, v); };
  map_four(first_of_four(), n, y, value, x);
}

__global__ void backward_kernel(Activation kind, const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ dx,
                                int64_t n) {
  const auto gradient = [=](float v, float g, float old) { return fmaf(activation_slope(kind, v), g, old); };
  map_four(first_of_four(), n, dx, gradient, x, dy, dx);
}

}  // namespace

template <> void activation_forward(Cuda on, Activation kind, Tensor x, Tensor y) {
  launch("activation_forward", forward_kernel, by_four(on, x.size()), kind, x.as<float>(), y.as<float>(), x.size());
}

template <> void activation_backward(Cuda on, Activation kind, Tensor x, Tensor dy, Tensor dx) {
  launch("activation_backward", backward_kernel, by_four(on, x.size()), kind, x.as<float>(), dy.as<float>(), dx.as<float>(), x.size());
}

}  // namespace stflow
