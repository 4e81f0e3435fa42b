// Floor at 10,000 spots, 8 neighbours, 4 frames, m = 64, 128 outputs on an H100: 5.2 GFLOP forward and 10.5 backward in float32, 0.1 and
// 0.2 ms at 50 TFLOP/s; the rows of a group of edges (25 MB) stay in the second cache, so that memory carries frames and y only, 45 MB, 15
// us.
#include "ops/edge_mlp.h"

#include "ops/cuda/edge_frames.h"
#include "ops/cuda/gemm.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

// Rows of edges first, first + 1, ...: h (edges F, m), one warp a row.
__global__ void hidden_kernel(EdgeLayer a, int64_t first, int64_t rows, float* __restrict__ h) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  float* own = dynamic_shared<float>() + warp * a.m;
  const int64_t row = int64_t(blockIdx.x) * kEdgeWarps + warp;
  const bool real = row < rows;
  const RowStats r = a.forward(real, first * a.F + row, own);
  for (int i = lane; real && i < a.m; i += kWarp) h[row * a.m + i] = fmaf((own[i] - r.mean) * r.scale, a.norm_weight[i], a.norm_bias[i]);
}

// y = the mean over frames of (out + bias) * mask.
__global__ void mean_kernel(const float* __restrict__ out, const float* __restrict__ bias, DropoutMask mask, int64_t first, int64_t numbers,
                            int F, int e, float* __restrict__ y) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= numbers) return;
  const int64_t edge = i / e, c = i % e;
  float total = 0;
  for (int f = 0; f < F; f++) total += (out[(edge * F + f) * e + c] + bias[c]) * mask(((first + edge) * F + f) * e + c);
  y[first * e + i] = total * (1 / float(F));
}

// dout = dy * mask / F for every frame.
__global__ void spread_kernel(const float* __restrict__ dy, DropoutMask mask, int64_t first, int64_t numbers, int F, int e,
                              float* __restrict__ dout) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= numbers) return;
  const int64_t row = i / e;
  dout[i] = dy[(first + row / F) * e + i % e] * (1 / float(F)) * mask(first * F * e + i);
}

// partial (pieces, e): column sums of dout.
__global__ void bias_kernel(const float* __restrict__ dout, int64_t rows, int64_t pieces, int e, float* __restrict__ partial) {
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, piece = blockIdx.y;
  if (c >= e) return;
  float total = 0;
  for (int64_t r = piece * rows / pieces; r < (piece + 1) * rows / pieces; r++) total += dout[r * e + c];
  partial[piece * e + c] = total;
}

// A block takes a piece of the rows, its warps in turn: sums of fc1's and the norm's gradients, and the rows' h for fc2's.
__global__ void backward_kernel(EdgeLayer a, int64_t first, int64_t rows, int64_t share, const float* __restrict__ dh,
                                float* __restrict__ h_out, float* __restrict__ partial) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  float *sums = dynamic_shared<float>(), *h = sums + kEdgeWarps * 10 * unsigned(a.m) + warp * a.m, *own = sums + warp * 10 * a.m;
  for (int i = int(threadIdx.x); i < int(kEdgeWarps) * 10 * a.m; i += int(blockDim.x)) sums[i] = 0;
  __syncthreads();
  const int64_t begin = int64_t(blockIdx.x) * share, end = min(begin + share, rows);
  for (int64_t at = begin; at < end; at += kEdgeWarps) {
    const int64_t row = at + warp;
    const bool real = row < end;
    const RowStats r = a.forward(real, first * a.F + row, h);
    for (int i = lane; real && i < a.m; i += kWarp)
      h_out[row * a.m + i] = fmaf((h[i] - r.mean) * r.scale, a.norm_weight[i], a.norm_bias[i]);
    edge_row_backward(
        a, real, first * a.F + row, r, h, [&](int i) { return dh[row * a.m + i]; }, EdgeSums(own, a.m));
  }
  write_edge_sums(sums, a.m, partial + int64_t(blockIdx.x) * 10 * a.m);
}

}  // namespace

template <> void edge_mlp_forward(Cuda on, const EdgeMlp& a, Tensor y, void* scratch) {
  const EdgeLayer layer(a.hidden);
  const int64_t m = a.half(), e = a.outputs(), F = a.frames();
  auto *h = static_cast<float*>(scratch), *out = h + kCudaEdges * F * m;
  const size_t shared = kEdgeWarps * size_t(m) * sizeof(float);
  for (int64_t first = 0; first < a.edges(); first += kCudaEdges) {
    const int64_t count = min(a.edges() - first, kCudaEdges), rows = count * F;
    launch("edge_mlp_hidden", hidden_kernel, {blocks_for(rows, kEdgeWarps), kEdgeWarps * kWarp, shared, stream_of(on)}, layer, first, rows,
           h);
    matmul(on, rows, e, m, {h, m}, {a.fc2_weight.data, m, true}, {out, e});
    launch("edge_mlp_mean", mean_kernel, {blocks_for(count * e, kThreads), kThreads, 0, stream_of(on)}, out, a.fc2_bias.as<float>(),
           DropoutMask(a.outer), first, count * e, int(F), int(e), y.as<float>());
  }
}

template <> void edge_mlp_backward(Cuda on, const EdgeMlp& a, Tensor dy, const EdgeMlpGrads& d, void* scratch) {
  const EdgeLayer layer(a.hidden);
  const int64_t m = a.half(), e = a.outputs(), F = a.frames(), most = kCudaEdges * F;
  auto *h = static_cast<float*>(scratch), *dh = h + most * m, *dout = dh + most * m, *partial = dout + most * e;
  const size_t shared = kEdgeWarps * 11 * size_t(m) * sizeof(float);
  for (int64_t first = 0; first < a.edges(); first += kCudaEdges) {
    const int64_t count = min(a.edges() - first, kCudaEdges), rows = count * F;
    launch("edge_mlp_spread", spread_kernel, {blocks_for(rows * e, kThreads), kThreads, 0, stream_of(on)}, dy.as<float>(),
           DropoutMask(a.outer), first, rows * e, int(F), int(e), dout);
    if (d.fc2_bias.data) {
      launch("edge_mlp_bias", bias_kernel, {dim3(blocks_for(e, kThreads), unsigned(kCudaEdgePieces)), kThreads, 0, stream_of(on)}, dout,
             rows, kCudaEdgePieces, int(e), partial);
      launch("add_partial_sums", add_partial_sums, {blocks_for(e, kThreads), kThreads, 0, stream_of(on)}, partial, e, kCudaEdgePieces, e,
             d.fc2_bias.as<float>());
    }
    matmul(on, rows, m, e, {dout, e}, {a.fc2_weight.data, m}, {dh, m});
    launch("edge_mlp_backward", backward_kernel, {unsigned(kCudaEdgePieces), kEdgeWarps * kWarp, shared, stream_of(on)}, layer, first, rows,
           (rows + kCudaEdgePieces - 1) / kCudaEdgePieces, dh, h, partial);
    add_edge_sums(on, partial, 10 * m, kCudaEdgePieces, m, d.fc1_weight, d.fc1_bias, d.norm_weight, d.norm_bias);
    if (d.fc2_weight.data) matmul(on, e, m, rows, {dout, e, true}, {h, m}, {d.fc2_weight.data, m, true});
  }
}

}  // namespace stflow
