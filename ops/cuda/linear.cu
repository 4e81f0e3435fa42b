// The products are ops/cuda/gemm.cu's, which adds a bias where no activation follows. Beside them, at 10,000 x 128 on an H100 (3.0 TB/s):
// bias and activation read and write y and write pre, 15.4 MB, 5.1 us; backward the activation reads pre and dy and writes dy in the pass
// that sums the bias gradient, 15.4 MB, 5.1 us. In bf16, ViT-L/16 at batch 32 (6,304 x 4,096): the GELU reads and writes 103 MB, 34 us.
// cuBLASLt's GELU is the tanh form, up to 4e-4 from ours. Its bias gradient (BGRADB) comes with the gradient of the weight, which saves
// that pass where there is no activation, whose slope is applied in it; not in TF32, to which it may round what it sums.
#include "ops/linear.h"

#include "ops/cuda/activate.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/reduce.h"
#include "ops/cuda/vector.h"

namespace stflow {
namespace {

constexpr unsigned kRowsOfBlock = 8;  // one warp a row

// y = activation(y + bias); pre, where given, is what the activation was applied to.
template <class T>
__global__ void epilogue_kernel(const float* __restrict__ bias, Activation activation, T* __restrict__ y, float* __restrict__ pre,
                                int64_t rows, int64_t n) {
  const int64_t r = int64_t(blockIdx.x) * kRowsOfBlock + threadIdx.x / kWarp;
  for (int64_t i = 4 * (threadIdx.x % kWarp); r < rows && i < n; i += 4 * kWarp) {
    int64_t j = i;
    const auto before = [&](float v) { return bias ? v + bias[j++] : v; };
    const auto after = [&](float v) { return activate(activation, before(v)); };
    if (pre) map_four(i, n, pre + r * n, before, y + r * n);
    j = i;
    map_four(i, n, y + r * n, after, y + r * n);
  }
}

__global__ void round_kernel(const float* __restrict__ from, Bfloat* __restrict__ to, int64_t n) {
  const auto same = [](float x) { return x; };
  map_four(first_of_four(), n, to, same, from);
}

// dy *= activation'(pre) where there is one, and the column sums of dy. A block takes 32 columns of a piece of the rows: lanes are
// columns, warps take rows in turn, and are added warp after warp.
__global__ void gradient_kernel(const float* __restrict__ pre, Activation activation, float* __restrict__ dy, float* __restrict__ partial,
                                int64_t rows, int64_t n, int64_t share) {
  float* sums = shared_array<float, kRowsOfBlock * kWarp, class ColumnSums>();
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t j = int64_t(blockIdx.x) * kWarp + lane, piece = blockIdx.y, end = min((piece + 1) * share, rows);
  float sum = 0;
  for (int64_t r = piece * share + warp; j < n && r < end; r += kRowsOfBlock) {
    float d = dy[r * n + j];
    if (pre) dy[r * n + j] = d *= activation_slope(activation, pre[r * n + j]);
    sum += d;
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (partial && warp == 0 && j < n) {
    for (unsigned w = 1; w < kRowsOfBlock; w++) sum += sums[w * kWarp + lane];
    partial[piece * n + j] = sum;
  }
}

}  // namespace

template <> void linear_pack(Cuda, Tensor, void*) {}

template <> void linear_round(Cuda on, Tensor from, Tensor to) {
  check(to.type == DType::bf16, "linear: {} on a GPU", name_of(to.type));
  launch("linear_round", round_kernel, by_four(on, from.size()), from.as<float>(), to.as<Bfloat>(), from.size());
}

template <> void linear_forward(Cuda on, Tensor x, Tensor weight, Tensor bias, Activation activation, const void*, Tensor y, void* pre) {
  const int64_t rows = y.rows(), out = y.cols(), in = x.cols();
  const bool plain = activation == Activation::none && !pre;
  matmul(on, rows, out, in, {x.data, in, false, x.type}, {weight.data, in, true, weight.type},
         {y.data, out, false, plain ? bias.data : nullptr, y.type});
  if (plain) return;
  by_storage(y.type, [&](auto zero) {
    using T = decltype(zero);
    launch("linear_epilogue", epilogue_kernel<T>, {blocks_for(rows, kRowsOfBlock), kRowsOfBlock * kWarp, 0, stream_of(on)},
           bias.as<float>(), activation, y.as<T>(), static_cast<float*>(pre), rows, out);
  });
}

template <>
void linear_backward(Cuda on, Tensor x, Tensor weight, Activation activation, const void* pre, Tensor dy, Tensor dx, Tensor dweight,
                     Tensor dbias, void* scratch) {
  const int64_t rows = dy.rows(), out = dy.cols(), in = x.cols(), pieces = linear_bias_pieces(rows);
  const auto* before = activation == Activation::none ? nullptr : static_cast<const float*>(pre);
  auto* partial = dbias.data ? static_cast<float*>(scratch) : nullptr;
  const auto slope_and_sums = [&] {
    launch("linear_gradient", gradient_kernel, {dim3(blocks_for(out, kWarp), unsigned(pieces)), kRowsOfBlock * kWarp, 0, stream_of(on)},
           before, activation, dy.as<float>(), partial, rows, out, (rows + pieces - 1) / pieces);
  };
  if (before) slope_and_sums();
  if (dx.data) matmul(on, rows, in, out, {dy.data, out}, {weight.data, in}, {dx.data, in, true});
  Product to{dweight.data, in, true};
  if (!before && !on.tf32) to.row_sums = partial;
  const bool summed = dweight.data && matmul(on, out, in, rows, {dy.data, out, true}, {x.data, in}, to);
  if (!partial) return;
  if (!before && !summed) slope_and_sums();
  launch("add_partial_sums", add_partial_sums, {blocks_for(out, 256), 256, 0, stream_of(on)}, partial, out, summed ? 1 : pieces, out,
         dbias.as<float>());
}

}  // namespace stflow
