// The inside of the reference's SwiGLU block for one row, by one warp: h = silu(u1) * u2 * mask, then layer normalisation.
// A row's h lies in shared memory; lane l owns the elements l, l + 32, ..., so that no barrier is needed between its own passes.
#pragma once
#include "ops/cuda/reduce.h"

namespace stflow {

struct RowStats {
  float mean, scale;  // scale = 1 / sqrt(var + eps)
};

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

/// h (m) <- gate(u1(i), u2(i)) * mask(i) and its statistics; reached by all lanes, `real` or not.
template <class Gate> __device__ RowStats gate_row(bool real, int m, float eps, Gate gate, float* h) {
  const int lane = int(threadIdx.x) % kWarp;
  float sum = 0, squares = 0;
  for (int i = lane; real && i < m; i += kWarp) sum += h[i] = gate(i);
  const float mean = warp_sum(sum) / float(m);
  for (int i = lane; real && i < m; i += kWarp) squares = fmaf(h[i] - mean, h[i] - mean, squares);
  return {mean, 1 / sqrtf(warp_sum(squares) / float(m) + eps)};
}

/// Back through the normalisation and the gate's product: with n = (h - mean) scale and g(i) the gradient of n, calls
/// dh(i, scale (g - mean(g) - n mean(g n))) for the lane's own elements.
template <class G, class Dh> __device__ void normalise_row_backward(bool real, int m, RowStats r, const float* h, G g, Dh dh) {
  const int lane = int(threadIdx.x) % kWarp;
  float sum = 0, along = 0;
  for (int i = lane; real && i < m; i += kWarp) {
    const float v = g(i);
    sum += v, along = fmaf(v, (h[i] - r.mean) * r.scale, along);
  }
  const float mean = warp_sum(sum) / float(m), mean_along = warp_sum(along) / float(m);
  for (int i = lane; real && i < m; i += kWarp) dh(i, (g(i) - mean - (h[i] - r.mean) * r.scale * mean_along) * r.scale);
}

}  // namespace stflow
