// Which elements of an index name a row: the reverse of a gather, in the index' order.
#pragma once
#include "engine/cuda/cuda.h"

namespace stflow {

/// Calls f(e) in every thread of a block, for each e of [0, n) with index[e] == value, in order; reached by all threads of the block, of
/// at most 1,024. The block reads the index once, a thread an element.
template <class F> __device__ void for_matches(const int32_t* index, int64_t n, int64_t value, F f) {
  unsigned* found = shared_array<unsigned, kWarp, class Found>();  // of each warp: a bit a lane
  const int warps = int(blockDim.x) / kWarp;
  for (int64_t first = 0; first < n; first += blockDim.x) {
    const int64_t e = first + threadIdx.x;
    const unsigned lanes = __ballot_sync(kAllLanes, e < n && index[e] == value);
    if (threadIdx.x % kWarp == 0) found[threadIdx.x / kWarp] = lanes;
    __syncthreads();
    for (int w = 0; w < warps; w++)
      for (unsigned bits = found[w]; bits; bits &= bits - 1) f(first + w * kWarp + __ffs(int(bits)) - 1);
    __syncthreads();  // found is written next
  }
}

}  // namespace stflow
