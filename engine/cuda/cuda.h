// The one CUDA header that a .cu file includes. nvcc: the real runtime. g++: the emulator, so that the same file runs, and
// is sanitised, on a machine without a GPU.
//
// What a kernel may use is what both sides know: launch() with whole warps; shared memory from shared_array() and
// dynamic_shared(); __syncthreads and full-mask warp operations reached by all their threads (guard the loads, do not
// return early); integer atomics. No inline PTX, cooperative groups, textures or branches on __CUDA_ARCH__; no waiting
// between blocks; no float atomics, because they would make a sum depend on the order of arrival.
#pragma once
#include <cstddef>
#include <cstdint>

#include "engine/cuda/devices.h"
#include "engine/device.h"
#include "engine/half.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace stflow {

/// Throws Exit::device (Exit::memory when the device has none left) unless `e` is success.
inline void cuda_check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  fail(e == cudaErrorMemoryAllocation ? Exit::memory : Exit::device, "CUDA: {}: {}", what, cudaGetErrorString(e));
}

/// Where a kernel runs: blocks, threads of a block (whole warps), bytes of dynamic shared memory, stream.
struct Launch {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};

/// Starts a kernel; an empty grid starts nothing. Errors carry `name`.
template <class... P, class... A> void launch(const char* name, void (*kernel)(P...), const Launch& l, A... args) {
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) return;
  if (l.shared > 48 * 1024)
    cuda_check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, int(l.shared)),
               name);
  kernel<<<l.grid, l.block, l.shared, l.stream>>>(static_cast<P>(args)...);
  cuda_check(cudaGetLastError(), name);
}

/// An array of N numbers shared by the threads of a block; undefined at the start. One array per (T, N, Tag) and kernel: give
/// each purpose its own tag.
template <class T, int N, class Tag> __device__ T* shared_array() {
  __shared__ T array[N];
  return array;
}
/// The launch's dynamic shared memory; 16-byte aligned, undefined at the start.
template <class T> __device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

/// x rounded to nearest even, by the one instruction that does so.
__device__ inline Bfloat to_bfloat(float x) { return {__bfloat16_as_ushort(__float2bfloat16_rn(x))}; }

}  // namespace stflow
#else
#include "engine/cuda/emulate.h"
#endif

namespace stflow {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// The stream of a call.
inline cudaStream_t stream_of(Cuda on) { return static_cast<cudaStream_t>(cuda_stream(on.stream)); }
/// Blocks of `block` threads for n elements; 0 for none.
constexpr unsigned blocks_for(int64_t n, int64_t block) { return unsigned((n + block - 1) / block); }
/// Counts one more and returns how many there were. Integers only: whatever the order of arrival, the count is the same.
__device__ inline int count_up(int* counter) { return atomicAdd(counter, 1); }

}  // namespace stflow
