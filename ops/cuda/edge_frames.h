// The hidden layer of the edge MLP on every frame of an edge: shared by edge_hidden (the mean over frames) and edge_mlp (every frame).
#pragma once
#include "ops/cuda/dropout_mask.h"
#include "ops/cuda/gate.h"
#include "ops/edge_hidden.h"

namespace stflow {

inline constexpr float kEdgeEps = 1e-5f;
inline constexpr unsigned kEdgeWarps = 4;  // of a block; a warp takes an edge

/// EdgeHidden as a kernel's argument.
struct EdgeLayer {
  const float *frames, *weight, *bias, *norm_weight, *norm_bias;
  int m, F;
  DropoutMask mask;

  explicit EdgeLayer(const EdgeHidden& a)
      : frames(a.frames.as<float>()),
        weight(a.fc1_weight.as<float>()),
        bias(a.fc1_bias.as<float>()),
        norm_weight(a.norm_weight.as<float>()),
        norm_bias(a.norm_bias.as<float>()),
        m(int(a.half())),
        F(int(a.frames.shape[2])),
        mask(a.dropout) {}
  /// Element c of fc1's result for frame row `row` = edge * F + frame.
  __device__ float hidden(int64_t row, int c) const {
    const float *x = frames + row * 3, *w = weight + 3 * c;
    return fmaf(x[0], w[0], fmaf(x[1], w[1], fmaf(x[2], w[2], bias[c])));
  }
  __device__ RowStats forward(bool real, int64_t row, float* h) const {
    return gate_row(
        real, m, kEdgeEps, [&](int i) { return silu(hidden(row, i)) * hidden(row, m + i) * mask(row * m + i); }, h);
  }
};

/// Sums of a warp's gradients in shared memory, in this order: fc1 weight (2m, 3), bias (2m), norm weight (m), bias (m).
struct EdgeSums {
  float *weight, *bias, *norm_weight, *norm_bias;
  __device__ EdgeSums(float* at, int m) : weight(at), bias(at + 6 * m), norm_weight(at + 8 * m), norm_bias(at + 9 * m) {}
};

/// One row back: d(i) is the gradient of the row's result; adds into `sums`. h: the row's own (m).
template <class D>
__device__ void edge_row_backward(const EdgeLayer& a, bool real, int64_t row, RowStats r, const float* h, D d, EdgeSums sums) {
  const float* x = a.frames + row * 3;
  for (int i = int(threadIdx.x) % kWarp; real && i < a.m; i += kWarp) {
    sums.norm_weight[i] = fmaf(d(i), (h[i] - r.mean) * r.scale, sums.norm_weight[i]);
    sums.norm_bias[i] += d(i);
  }
  normalise_row_backward(
      real, a.m, r, h, [&](int i) { return d(i) * a.norm_weight[i]; },
      [&](int i, float dh) {
        dh *= a.mask(row * a.m + i);
        const float u1 = a.hidden(row, i), u2 = a.hidden(row, a.m + i), s = 1 / (1 + expf(-u1)), value = u1 * s;
        const float du[2] = {dh * u2 * (s + value - value * s), dh * value};
        for (int half = 0; half < 2; half++) {
          const int c = half * a.m + i;
          for (int j = 0; j < 3; j++) sums.weight[3 * c + j] = fmaf(du[half], x[j], sums.weight[3 * c + j]);
          sums.bias[c] += du[half];
        }
      });
}

/// A block adds its warps' sums (10m each, one behind the other) in order and writes them to `to`. Reached by all threads.
__device__ inline void write_edge_sums(const float* sums, int m, float* to) {
  __syncthreads();
  for (int i = int(threadIdx.x); i < 10 * m; i += int(blockDim.x)) {
    float total = 0;
    for (unsigned w = 0; w < kEdgeWarps; w++) total += sums[w * 10 * unsigned(m) + unsigned(i)];
    to[i] = total;
  }
}

/// Adds `pieces` sums of 10m numbers, `stride` apart, into the gradients; each may be absent.
inline void add_edge_sums(Cuda on, const float* partial, int64_t stride, int64_t pieces, int64_t m, Tensor dw1, Tensor db1, Tensor dnw,
                          Tensor dnb) {
  const Tensor to[] = {dw1, db1, dnw, dnb};
  const int64_t at[] = {0, 6 * m, 8 * m, 9 * m}, count[] = {6 * m, 2 * m, m, m};
  for (int i = 0; i < 4; i++)
    if (to[i].data)
      launch("add_partial_sums", add_partial_sums, {blocks_for(count[i], 256), 256, 0, stream_of(on)}, partial + at[i], stride, pieces,
             count[i], to[i].as<float>());
}

}  // namespace stflow
