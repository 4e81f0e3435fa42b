// Sums and maxima over a warp or a block, always by the same tree.
#pragma once
#include "engine/cuda/cuda.h"

namespace stflow {

template <class T> __device__ T warp_sum(T v) {
  for (int m = kWarp / 2; m; m /= 2) v += __shfl_xor_sync(kAllLanes, v, m);
  return v;
}
__device__ inline float warp_max(float v) {
  for (int m = kWarp / 2; m; m /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, m));
  return v;
}

/// Every thread of a one-dimensional block gets the sum of all their v, float or double. Reached by all threads.
template <class T> __device__ T block_sum(T v) {
  T* partial = shared_array<T, kWarp, class BlockSum>();
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  v = warp_sum(v);
  if (lane == 0) partial[threadIdx.x / kWarp] = v;
  __syncthreads();
  v = warp_sum(lane < warps ? partial[lane] : T(0));
  __syncthreads();  // partial may be used again
  return v;
}
/// Likewise the largest.
__device__ inline float block_max(float v) {
  float* partial = shared_array<float, kWarp, class BlockMax>();
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  v = warp_max(v);
  if (lane == 0) partial[threadIdx.x / kWarp] = v;
  __syncthreads();
  v = warp_max(lane < warps ? partial[lane] : -INFINITY);
  __syncthreads();
  return v;
}

/// start + value(0) + ... + value(n - 1) in this order; the loads of sixteen are under way at a time.
template <class F> __device__ float sum_in_order(int64_t n, F value, float start = 0) {
  constexpr int64_t kLoads = 16;
  int64_t p = 0;
  for (float v[kLoads]; p + kLoads <= n; p += kLoads) {
    for (int64_t i = 0; i < kLoads; i++) v[i] = value(p + i);
    for (float part : v) start += part;
  }
  for (; p < n; p++) start += value(p);
  return start;
}

/// to[i] += the sum of `pieces` rows of partial sums (pieces, n), row after row; launched over blocks_for(n, 256) blocks of 256.
[[maybe_unused]] static __global__ void add_partial_sums(const float* __restrict__ partial, int64_t stride, int64_t pieces, int64_t n,
                                                         float* __restrict__ to) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n)
    to[i] = sum_in_order(
        pieces, [&](int64_t p) { return partial[p * stride + i]; }, to[i]);
}

}  // namespace stflow
