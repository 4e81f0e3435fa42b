#include "tests/engine/cuda/faulty.h"

#include "ops/cuda/reduce.h"

namespace stflow::test {
namespace {

__global__ void reversed_kernel(float* y, bool sync) {
  float* s = shared_array<float, 64, class Reversed>();
  s[threadIdx.x] = float(threadIdx.x);
  if (sync) __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}

// Every thread gets the sum over the block; the second barrier keeps `partial` until all have read it.
__device__ float block_sum(float v, bool sync) {
  float* partial = shared_array<float, 2, class Partial>();
  for (int m = 16; m; m /= 2) v += __shfl_xor_sync(kAllLanes, v, m);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  const float sum = partial[0] + partial[1];
  if (sync) __syncthreads();
  return sum;
}

__global__ void two_sums_kernel(float* y, bool sync) {
  const float a = block_sum(float(threadIdx.x), sync), b = block_sum(2 * float(threadIdx.x), true);
  y[threadIdx.x] = b - 2 * a;
}

__global__ void reduced_kernel(float* y) {
  const float v = float(threadIdx.x);
  const float a = stflow::block_sum(v), b = stflow::block_sum(2 * v), c = block_max(v), d = block_max(2 * v);
  y[threadIdx.x] = fabsf(a - 2016) + fabsf(b - 4032) + fabsf(c - 63) + fabsf(d - 126);
}

__global__ void raced_kernel(float* y) { y[0] = float(blockIdx.x); }

__global__ void early_return_kernel(float* y, int n) {
  if (int(threadIdx.x) >= n) return;
  __syncthreads();
  y[threadIdx.x] = 1;
}

__global__ void partial_warp_kernel(float* y, int n) {
  float v = float(threadIdx.x);
  if (int(threadIdx.x) % 32 < n) v = __shfl_xor_sync(kAllLanes, v, 1);
  y[threadIdx.x] = v;
}

__global__ void shared_overflow_kernel(float* y, int n) {
  float* s = shared_array<float, 64, class Small>();
  for (int i = int(threadIdx.x); i < n; i += 64) s[i] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}

__global__ void device_overflow_kernel(float* y, int n) {
  for (int i = int(threadIdx.x); i < n; i += 64) y[i] = 1;
}

__global__ void copied_kernel(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

__global__ void counted_kernel(int* y) {
  const int lane = int(threadIdx.x) % 32;
  const unsigned later = __ballot_sync(kAllLanes, lane >= 16);
  const int above = __shfl_up_sync(kAllLanes, lane, 1), below = __shfl_down_sync(kAllLanes, lane, 1);
  const int first = __shfl_sync(kAllLanes, int(threadIdx.x), 0);
  const bool right = __popc(later) == 16 && above == max(lane - 1, 0) && below == min(lane + 1, 31);
  y[threadIdx.x] = right ? first + lane : -1;
}

}  // namespace

void reversed(float* y, bool sync) { launch("test.reversed", reversed_kernel, {1, 64}, y, sync); }
void two_sums(float* y, bool sync) { launch("test.two_sums", two_sums_kernel, {1, 64}, y, sync); }
void reduced(float* y) { launch("test.reduced", reduced_kernel, {1, 64}, y); }
void raced(float* y, int blocks) { launch("test.raced", raced_kernel, {unsigned(blocks), 32}, y); }
void early_return(float* y, int n) { launch("test.early_return", early_return_kernel, {1, 64}, y, n); }
void partial_warp(float* y, int n) { launch("test.partial_warp", partial_warp_kernel, {1, 64}, y, n); }
void shared_overflow(float* y, int n) { launch("test.shared_overflow", shared_overflow_kernel, {1, 64}, y, n); }
void device_overflow(float* y, int n) { launch("test.device_overflow", device_overflow_kernel, {1, 64}, y, n); }
void copied(const float* x, float* y) { launch("test.copied", copied_kernel, {1, 64}, x, y); }
void counted(int* y) { launch("test.counted", counted_kernel, {1, 64}, y); }
void shaped(float* y, int threads) { launch("test.shaped", copied_kernel, {1, unsigned(threads)}, y, y); }

}  // namespace stflow::test
