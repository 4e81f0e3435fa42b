// Floor at 32 images of 196 cells, d = 128, on an H100 (3.0 TB/s): forward 6.4 MB, 2.1 us; backward the same and the sums of its gradients.
#include "ops/unmask_tokens.h"

#include "engine/cuda/cuda.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__global__ void forward_kernel(const float* __restrict__ x, const float* __restrict__ mask, const float* __restrict__ position,
                               const int* __restrict__ order, float* __restrict__ y, int64_t size, int64_t tokens, int64_t inner,
                               int64_t d) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= size) return;
  const int64_t c = at % d, b = at / d / tokens, i = at / d % tokens;  // token i of the decoder's input, in x's order
  const float from = i < inner ? x[(b * inner + i) * d + c] : mask[c];
  const int64_t cell = i > 0 ? order[b * (tokens - 1) + i - 1] : -1;
  y[(b * tokens + 1 + cell) * d + c] = i > 0 ? from + position[cell * d + c] : from;
}

// A thread owns a column: every sum has one owner and one order.
__global__ void backward_kernel(const float* __restrict__ dy, const int* __restrict__ order, int64_t rows, int64_t tokens, int64_t inner,
                                int64_t d, float* __restrict__ dx, float* __restrict__ dmask, float* __restrict__ dposition) {
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  float hidden = 0;
  for (int64_t row = 0; c < d && row < rows; row++) {
    const int64_t b = row / tokens, i = row % tokens, cell = i > 0 ? order[b * (tokens - 1) + i - 1] : -1;
    const float g = dy[(b * tokens + 1 + cell) * d + c];
    if (i >= inner) hidden += g;
    else if (dx) dx[(b * inner + i) * d + c] += g;
    if (cell >= 0 && dposition) dposition[cell * d + c] += g;
  }
  if (dmask && c < d) dmask[c] += hidden;
}

}  // namespace

template <> void unmask_tokens_forward(Cuda on, Tensor x, Tensor mask, Tensor position, Tensor order, Tensor y) {
  launch("unmask_tokens_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, x.as<float>(),
         mask.as<float>(), position.as<float>(), order.as<int32_t>(), y.as<float>(), y.size(), y.shape[1], x.shape[1], y.shape[2]);
}

template <> void unmask_tokens_backward(Cuda on, Tensor dy, Tensor order, int64_t visible, Tensor dx, Tensor dmask, Tensor dposition) {
  launch("unmask_tokens_backward", backward_kernel, {blocks_for(dy.shape[2], kWarp), kWarp, 0, stream_of(on)}, dy.as<float>(),
         order.as<int32_t>(), dy.rows(), dy.shape[1], 1 + visible, dy.shape[2], dx.as<float>(), dmask.as<float>(), dposition.as<float>());
}

}  // namespace stflow
