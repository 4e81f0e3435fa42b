// Floor at ViT-L/16, 32 images (197 x 1,024), on an H100 (3.0 TB/s): forward reads patches and writes y, 52 MB, 17 us; backward 77 MB, 26
// us. The sums over images take a thread a (token, column): at 64 images of 197 x 384, 75,648 threads read 19 MB, 7 us, 64 numbers each.
#include "ops/assemble_tokens.h"

#include "ops/cuda/matches.h"
#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256, kColumns = 128;

/// Sizes: the first `placed` prefix tokens have position rows of their own; registers follow the class token.
struct Sequence {
  int64_t images, tokens, d, prefix, placed, first_register;
  const int32_t* cells;
};

__global__ void forward_kernel(Sequence s, const float* __restrict__ patches, const float* __restrict__ cls,
                               const float* __restrict__ registers, const float* __restrict__ position, float* __restrict__ y) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= s.images * s.tokens * s.d) return;
  const int64_t c = at % s.d, b = at / s.d / s.tokens, t = at / s.d % s.tokens, i = b * (s.tokens - s.prefix) + t - s.prefix;
  if (t < s.prefix) {
    const float x = t < s.first_register ? cls[c] : registers[(t - s.first_register) * s.d + c];
    y[at] = t < s.placed ? x + position[t * s.d + c] : x;
  } else {
    const int64_t cell = s.cells ? s.cells[i] : t - s.prefix;
    y[at] = patches[i * s.d + c] + position[(s.placed + cell) * s.d + c];
  }
}

__global__ void patches_kernel(Sequence s, const float* __restrict__ dy, float* __restrict__ dpatches) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, of_image = (s.tokens - s.prefix) * s.d;
  if (at < s.images * of_image) dpatches[at] += dy[(at / of_image + 1) * s.prefix * s.d + at];
}

// A block takes 128 columns of a prefix token or of a cell, a thread one of them: the sum over the images, in their order.
__global__ void sums_kernel(Sequence s, const float* __restrict__ dy, float* __restrict__ dcls, float* __restrict__ dregisters,
                            float* __restrict__ dposition) {
  const int64_t t = blockIdx.x, c = int64_t(blockIdx.y) * blockDim.x + threadIdx.x, n = s.tokens - s.prefix;
  float sum = 0;
  auto of_row = [&](int64_t row) { return c < s.d ? dy[row * s.d + c] : 0; };
  if (t >= s.prefix && s.cells)
    for_matches(s.cells, s.images * n, t - s.prefix, [&](int64_t i) { sum += of_row(i / n * s.tokens + s.prefix + i % n); });
  else sum = sum_in_order(s.images, [&](int64_t b) { return of_row(b * s.tokens + t); });
  if (c >= s.d) return;
  if (t < s.first_register && dcls) dcls[c] += sum;
  if (t >= s.first_register && t < s.prefix && dregisters) dregisters[(t - s.first_register) * s.d + c] += sum;
  if (t >= s.prefix && dposition) dposition[(s.placed + t - s.prefix) * s.d + c] += sum;
  if (t < s.placed && dposition) dposition[t * s.d + c] += sum;
}

}  // namespace

template <>
void assemble_tokens_forward(Cuda on, Tensor patches, Tensor cls, Tensor registers, Tensor position, Tensor cells, int64_t grid, Tensor y) {
  const int64_t tokens = y.shape[1];
  const Sequence s{y.shape[0],         tokens, y.shape[2], tokens - patches.shape[1], position.shape[1] - grid, cls.data ? 1 : 0,
                   cells.as<int32_t>()};
  launch("assemble_tokens_forward", forward_kernel, {blocks_for(y.size(), kThreads), kThreads, 0, stream_of(on)}, s, patches.as<float>(),
         cls.as<float>(), registers.as<float>(), position.as<float>(), y.as<float>());
}

template <>
void assemble_tokens_backward(Cuda on, Tensor dy, Tensor cells, int64_t grid, Tensor dpatches, Tensor dcls, Tensor dregisters,
                              Tensor dposition) {
  const int64_t tokens = dy.shape[1], n = dpatches.data ? dpatches.shape[1] : cells.data ? cells.shape[1] : grid, prefix = tokens - n;
  const int64_t first_register = prefix - (dregisters.data ? dregisters.shape[1] : prefix > 1 ? prefix - 1 : 0);
  const Sequence s{dy.shape[0],        tokens, dy.shape[2], prefix, dposition.data ? dposition.shape[1] - grid : 0, first_register,
                   cells.as<int32_t>()};
  if (dpatches.data)
    launch("assemble_tokens_patches", patches_kernel, {blocks_for(dpatches.size(), kThreads), kThreads, 0, stream_of(on)}, s,
           dy.as<float>(), dpatches.as<float>());
  if (dcls.data || dregisters.data || dposition.data)
    launch("assemble_tokens_sums", sums_kernel,
           {dim3(unsigned(prefix + (dposition.data ? grid : 0)), blocks_for(s.d, kColumns)), kColumns, 0, stream_of(on)}, s, dy.as<float>(),
           dcls.as<float>(), dregisters.as<float>(), dposition.as<float>());
}

}  // namespace stflow
