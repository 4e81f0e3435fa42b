// Products are bound by arithmetic in float32: 10,000 x 128 x 384 is 1.0 GFLOP, 15 us at the 67 TFLOP/s of an H100's float32 units, and
// moves 20 MB, 7 us.
#include "ops/cuda/gemm.h"

#include "engine/cuda/cuda.h"

#ifdef __CUDACC__
#include <cublas_v2.h>

namespace stflow {
namespace {

void cublas_check(cublasStatus_t s) {
  if (s != CUBLAS_STATUS_SUCCESS)
    fail(s == CUBLAS_STATUS_ALLOC_FAILED ? Exit::memory : Exit::device, "cuBLAS: {}", cublasGetStatusString(s));
}

// One handle per thread and device, because setting the stream of a shared one would race; it lives as long as the process.
cublasHandle_t handle_of(Cuda on) {
  constexpr int kDevices = 64;
  static thread_local cublasHandle_t handles[kDevices] = {};
  int device = 0;
  cuda_check(cudaGetDevice(&device), "cudaGetDevice");
  check(device < kDevices, "cuBLAS: device {}, expected at most {} devices", device, kDevices);
  cublasHandle_t& handle = handles[device];
  if (!handle) {
    cublas_check(cublasCreate(&handle));
    cublas_check(cublasSetAtomicsMode(handle, CUBLAS_ATOMICS_NOT_ALLOWED));  // partial sums are added in a fixed order
    cublas_check(cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH));            // no TF32
  }
  cublas_check(cublasSetStream(handle, stream_of(on)));
  return handle;
}

}  // namespace

// cuBLAS is column-major: a row-major matrix is its transpose, so C^T = B^T A^T.
void matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t ldc, bool add) {
  if (m == 0 || n == 0 || (k == 0 && add)) return;
  const float one = 1, keep = add ? 1 : 0;
  cublas_check(cublasGemmEx_64(handle_of(on), b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k,
                               &one, b.data, CUDA_R_32F, max(b.ld, int64_t(1)), a.data, CUDA_R_32F, max(a.ld, int64_t(1)), &keep, c,
                               CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

}  // namespace stflow
#else

namespace stflow {
namespace {

constexpr int kTile = 16;

// One block a tile of C; a thread an element of it.
__global__ void matmul_kernel(int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t ldc, bool add) {
  float* left = shared_array<float, kTile * kTile, class Left>();
  float* right = shared_array<float, kTile * kTile, class Right>();
  const int64_t tiles = (n + kTile - 1) / kTile;
  const int row = int(threadIdx.x) / kTile, column = int(threadIdx.x) % kTile;
  const int64_t i = blockIdx.x / tiles * kTile + row, j = blockIdx.x % tiles * kTile + column;
  float sum = 0;
  for (int64_t at = 0; at < k; at += kTile) {
    const int64_t p = at + column, q = at + row;
    left[threadIdx.x] = i < m && p < k ? a.data[a.transposed ? p * a.ld + i : i * a.ld + p] : 0;
    right[threadIdx.x] = q < k && j < n ? b.data[b.transposed ? j * b.ld + q : q * b.ld + j] : 0;
    __syncthreads();
    for (int d = 0; d < kTile; d++) sum += left[row * kTile + d] * right[d * kTile + column];
    __syncthreads();
  }
  if (i < m && j < n) c[i * ldc + j] = add ? c[i * ldc + j] + sum : sum;
}

}  // namespace

void matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t ldc, bool add) {
  const int64_t tiles = (m + kTile - 1) / kTile * ((n + kTile - 1) / kTile);
  launch("matmul", matmul_kernel, {unsigned(tiles), kTile * kTile, 0, stream_of(on)}, m, n, k, a, b, c, ldc, add);
}

}  // namespace stflow
#endif
