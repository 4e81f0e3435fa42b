// Floor at 10,000 spots, 8 neighbours, 4 frames, m = 64 on an H100 (3.0 TB/s): forward reads frames (3.8 MB) and writes y (20.5 MB), 8 us;
// backward reads frames and dy, 8 us. Each also takes 20 million exponentials.
#include "ops/edge_hidden.h"

#include "ops/cuda/edge_frames.h"

namespace stflow {
namespace {

// y (edges, m) = norm_weight * mean over frames of the normalised rows + norm_bias.
__global__ void forward_kernel(EdgeLayer a, int64_t edges, float* __restrict__ y) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  float *h = dynamic_shared<float>() + warp * 2 * a.m, *total = h + a.m;
  const int64_t e = int64_t(blockIdx.x) * kEdgeWarps + warp;
  const bool real = e < edges;
  for (int f = 0; f < a.F; f++) {
    const RowStats r = a.forward(real, e * a.F + f, h);
    for (int i = lane; real && i < a.m; i += kWarp) total[i] = (f ? total[i] : 0) + (h[i] - r.mean) * r.scale;
  }
  for (int i = lane; real && i < a.m; i += kWarp) y[e * a.m + i] = fmaf(total[i] * (1 / float(a.F)), a.norm_weight[i], a.norm_bias[i]);
}

// A block takes a piece of the edges, its warps in turn.
__global__ void backward_kernel(EdgeLayer a, int64_t edges, int64_t share, const float* __restrict__ dy, float* __restrict__ partial) {
  const int warp = int(threadIdx.x) / kWarp;
  float *sums = dynamic_shared<float>(), *h = sums + kEdgeWarps * 10 * unsigned(a.m) + warp * a.m, *own = sums + warp * 10 * a.m;
  for (int i = int(threadIdx.x); i < int(kEdgeWarps) * 10 * a.m; i += int(blockDim.x)) sums[i] = 0;
  __syncthreads();
  const int64_t begin = int64_t(blockIdx.x) * share, end = min(begin + share, edges);
  const float part = 1 / float(a.F);
  for (int64_t first = begin; first < end; first += kEdgeWarps) {
    const int64_t e = first + warp;
    const bool real = e < end;
    for (int f = 0; f < a.F; f++) {
      const RowStats r = a.forward(real, e * a.F + f, h);
      edge_row_backward(
          a, real, e * a.F + f, r, h, [&](int i) { return dy[e * a.m + i] * part; }, EdgeSums(own, a.m));
    }
  }
  write_edge_sums(sums, a.m, partial + int64_t(blockIdx.x) * 10 * a.m);
}

}  // namespace

template <> void edge_hidden_forward(Cuda on, const EdgeHidden& a, Tensor y) {
  const EdgeLayer layer(a);
  const size_t shared = kEdgeWarps * 2 * size_t(layer.m) * sizeof(float);
  launch("edge_hidden_forward", forward_kernel, {blocks_for(a.edges(), kEdgeWarps), kEdgeWarps * kWarp, shared, stream_of(on)}, layer,
         a.edges(), y.as<float>());
}

template <>
void edge_hidden_backward(Cuda on, const EdgeHidden& a, Tensor dy, Tensor dw1, Tensor db1, Tensor dnw, Tensor dnb, void* scratch) {
  const EdgeLayer layer(a);
  const int64_t pieces = a.pieces(), m = a.half();
  auto* partial = static_cast<float*>(scratch);
  const size_t shared = kEdgeWarps * 11 * size_t(m) * sizeof(float);
  launch("edge_hidden_backward", backward_kernel, {unsigned(pieces), kEdgeWarps * kWarp, shared, stream_of(on)}, layer, a.edges(),
         (a.edges() + pieces - 1) / pieces, dy.as<float>(), partial);
  add_edge_sums(on, partial, 10 * m, pieces, m, dw1, db1, dnw, dnb);
}

}  // namespace stflow
