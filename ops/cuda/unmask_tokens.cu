// Floor at 64 images of 196 cells, d = 384, on an H100 (3.0 TB/s): forward reads a quarter and writes 19 MB, 8 us; backward reads dy twice
// and adds into dx, 48 MB, 16 us. The mask token's sum is over 9,408 rows of 147 hidden cells an image: 12 blocks of 32 warps, 294 rows a
// warp, sixteen loads under way, about 20 us beside the 75,264 threads of position's: without scratch, because the step around it takes
// tens of milliseconds.
#include "ops/unmask_tokens.h"

#include "ops/cuda/reduce.h"

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

__global__ void x_kernel(const float* __restrict__ dy, const int* __restrict__ order, int64_t size, int64_t tokens, int64_t inner,
                         int64_t d, float* __restrict__ dx) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= size) return;
  const int64_t c = at % d, b = at / d / inner, i = at / d % inner;
  dx[at] += dy[(b * tokens + (i > 0 ? 1 + order[b * (tokens - 1) + i - 1] : 0)) * d + c];
}

// A thread a number: `order` is a permutation, so every image gives every cell.
__global__ void position_kernel(const float* __restrict__ dy, int64_t images, int64_t tokens, int64_t d, float* __restrict__ dposition) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= (tokens - 1) * d) return;
  dposition[at] += sum_in_order(images, [&](int64_t b) { return dy[(b * tokens + 1) * d + at]; });
}

// A block takes 32 columns: lanes are columns, warps take hidden tokens in turn and are added warp after warp.
__global__ void mask_kernel(const float* __restrict__ dy, const int* __restrict__ order, int64_t images, int64_t tokens, int64_t inner,
                            int64_t d, float* __restrict__ dmask) {
  float* sums = shared_array<float, kWarp * kWarp, class WarpSums>();
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t c = int64_t(blockIdx.x) * kWarp + lane, hidden = tokens - inner;
  const int64_t own = c < d ? (images * hidden - warp + kWarp - 1) / kWarp : 0;
  sums[threadIdx.x] = sum_in_order(own, [&](int64_t turn) {
    const int64_t i = turn * kWarp + warp, b = i / hidden;
    return dy[(b * tokens + 1 + order[b * (tokens - 1) + inner - 1 + i % hidden]) * d + c];
  });
  __syncthreads();
  if (warp > 0 || c >= d) return;
  float total = dmask[c];
  for (int w = 0; w < kWarp; w++) total += sums[w * kWarp + lane];
  dmask[c] = total;
}

}  // namespace

template <> void unmask_tokens_forward(Cuda on, Tensor x, Tensor mask, Tensor position, Tensor order, Tensor y) {
  launch("unmask_tokens_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, x.as<float>(),
         mask.as<float>(), position.as<float>(), order.as<int32_t>(), y.as<float>(), y.size(), y.shape[1], x.shape[1], y.shape[2]);
}

template <> void unmask_tokens_backward(Cuda on, Tensor dy, Tensor order, int64_t visible, Tensor dx, Tensor dmask, Tensor dposition) {
  const int64_t images = dy.shape[0], tokens = dy.shape[1], d = dy.shape[2], inner = 1 + visible;
  auto a_number = [&](int64_t n) { return Launch{blocks_for(n, kThreads), kThreads, 0, stream_of(on)}; };
  if (dx.data)
    launch("unmask_tokens_x", x_kernel, a_number(dx.size()), dy.as<float>(), order.as<int32_t>(), dx.size(), tokens, inner, d,
           dx.as<float>());
  if (dposition.data)
    launch("unmask_tokens_position", position_kernel, a_number((tokens - 1) * d), dy.as<float>(), images, tokens, d, dposition.as<float>());
  if (dmask.data)
    launch("unmask_tokens_mask", mask_kernel, {blocks_for(d, kWarp), kWarp * kWarp, 0, stream_of(on)}, dy.as<float>(), order.as<int32_t>(),
           images, tokens, inner, d, dmask.as<float>());
}

}  // namespace stflow
