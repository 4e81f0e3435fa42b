// Products are bound by arithmetic: 10,000 x 128 x 384 is 1.0 GFLOP, 15 us at the 67 TFLOP/s of an H100's float32 units, and moves 20 MB, 7
// us. In TF32 (400 TFLOP/s) memory is the bound.
// A block of ViT-L/16 in bf16 (800 TFLOP/s), batch 32, 6,304 tokens of 1,024: the four products are 159 GFLOP and attention 5, 0.205 ms.
// What moves memory (3.0 TB/s) beside the products: two layer norms 77 MB, attention 52, GELU 103, two residual sums 129, 361 MB in all,
// 0.120 ms. So 0.325 ms, and 63 % of the card's rate where products run at all of it. With float32 between the products 568 MB: 52 %.
#include "ops/cuda/gemm.h"

#include "engine/cuda/cuda.h"

#ifdef __CUDACC__
#include <cublasLt.h>

#include <array>
#include <map>

namespace stflow {
namespace {

void cublas_check(cublasStatus_t s, const char* what) {
  if (s != CUBLAS_STATUS_SUCCESS)
    fail(s == CUBLAS_STATUS_ALLOC_FAILED ? Exit::memory : Exit::device, "cuBLASLt: {}: {}", what, cublasLtGetStatusString(s));
}

cudaDataType_t cuda_type(DType t) { return t == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }
/// Bytes by which a pointer is aligned, up to the sixteen that the widest loads want.
uint32_t alignment_of(const void* p) {
  const auto at = reinterpret_cast<uintptr_t>(p);
  return at % 16 == 0 ? 16 : at % 8 == 0 ? 8 : at % 4 == 0 ? 4 : 2;
}

// A kind of product, prepared: what cublasLtMatmul() wants besides pointers.
struct Prepared {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool sums = false;  // of rows are written too
};

// One per thread and device, which lives as long as the process: threads share no workspace, and a product is chosen once.
struct Lt {
  static constexpr size_t kWorkspace = size_t(32) << 20;  // what NVIDIA advises for Hopper
  using Key = std::array<int64_t, 16>;
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<Key, Prepared> products;

  Lt() {
    cublas_check(cublasLtCreate(&handle), "handle");
    cuda_check(cudaMalloc(&workspace, kWorkspace), "workspace of cuBLASLt");
  }
};

Lt& lt_of_this_thread() {
  constexpr int kDevices = 64;
  static thread_local Lt* all[kDevices] = {};
  int device = 0;
  cuda_check(cudaGetDevice(&device), "cudaGetDevice");
  check(device < kDevices, "cuBLASLt: device {}, expected at most {} devices", device, kDevices);
  if (!all[device]) all[device] = new Lt;
  return *all[device];
}

template <class T> void set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t what, const T& value) {
  cublas_check(cublasLtMatmulDescSetAttribute(d, what, &value, sizeof value), "description");
}
template <class T> void set(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t what, const T& value) {
  cublas_check(cublasLtMatmulPreferenceSetAttribute(p, what, &value, sizeof value), "preference");
}

// cuBLASLt is column-major: a row-major matrix is its transpose, so C^T = B^T A^T, where our bias runs along the rows as its epilogue has
// it. Sums split along k are allowed where a step of its own adds the float32 parts in their order; in place, and in the type of the
// result, they are not: the first depends on the order of arrival, the second rounds.
Prepared prepare(const Lt& lt, bool tf32, int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b, const Product& c) {
  Prepared p;
  const auto compute = tf32 && a.type == DType::f32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  cublas_check(cublasLtMatmulDescCreate(&p.product, compute, CUDA_R_32F), "description");
  set(p.product, CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(p.product, CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (c.bias) {
    set(p.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.bias);  // its alignment counts
  }
  const auto layout = [](cublasLtMatrixLayout_t& l, DType type, int64_t rows, int64_t columns, int64_t ld) {
    cublas_check(cublasLtMatrixLayoutCreate(&l, cuda_type(type), uint64_t(rows), uint64_t(columns), ld), "layout");
  };
  layout(p.a, b.type, b.transposed ? k : n, b.transposed ? n : k, b.ld);
  layout(p.b, a.type, a.transposed ? m : k, a.transposed ? k : m, a.ld);
  layout(p.c, c.type, n, m, c.ld);

  cublasLtMatmulPreference_t preference = nullptr;
  cublas_check(cublasLtMatmulPreferenceCreate(&preference), "preference");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, Lt::kWorkspace);
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c.data));
  const auto choose = [&] {
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t s = cublasLtMatmulAlgoGetHeuristic(lt.handle, p.product, p.a, p.b, p.c, p.c, preference, 1, &best, &found);
    if (s != CUBLAS_STATUS_NOT_SUPPORTED) cublas_check(s, "heuristic");
    p.algorithm = best.algo;
    return s == CUBLAS_STATUS_SUCCESS && found > 0 && best.state == CUBLAS_STATUS_SUCCESS;
  };
  if (c.row_sums) {  // of our A, the transpose of its B
    set(p.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BGRADB);
    set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(c.row_sums));
    p.sums = choose();
    if (!p.sums) set(p.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
  }
  if (!p.sums && !choose()) fail(Exit::device, "cuBLASLt: no algorithm for a product of {} x {} x {}", m, n, k);
  cublas_check(cublasLtMatmulPreferenceDestroy(preference), "preference");
  return p;
}

}  // namespace

bool matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, Product c) {
  check(!c.row_sums || (!c.bias && a.type == DType::f32), "matmul: sums of rows beside a bias, or of {}", name_of(a.type));
  if (m == 0 || n == 0 || (k == 0 && c.add)) return false;
  if (k == 0) {  // which cuBLASLt refuses
    check(!c.bias, "matmul: a bias without a product");
    const auto pitch = size_t(c.ld) * bytes_of(c.type), width = size_t(n) * bytes_of(c.type);
    cuda_check(cudaMemset2DAsync(c.data, pitch, 0, width, size_t(m), stream_of(on)), "matmul");
    return false;
  }
  Lt& lt = lt_of_this_thread();
  const Lt::Key key{m,
                    n,
                    k,
                    a.ld,
                    b.ld,
                    c.ld,
                    a.transposed,
                    b.transposed,
                    int64_t(a.type),
                    int64_t(c.type),
                    on.tf32,
                    alignment_of(a.data),
                    alignment_of(b.data),
                    alignment_of(c.data),
                    c.bias ? alignment_of(c.bias) : 0,
                    c.row_sums ? alignment_of(c.row_sums) : 0};
  auto at = lt.products.find(key);
  if (at == lt.products.end()) at = lt.products.emplace(key, prepare(lt, on.tf32, m, n, k, a, b, c)).first;
  const Prepared& p = at->second;
  if (c.bias) set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.bias);
  if (p.sums) set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(c.row_sums));
  const float one = 1, keep = c.add ? 1 : 0;
  cublas_check(cublasLtMatmul(lt.handle, p.product, &one, b.data, p.a, a.data, p.b, &keep, c.data, p.c, c.data, p.c, &p.algorithm,
                              lt.workspace, Lt::kWorkspace, stream_of(on)),
               "product");
  return p.sums;
}

}  // namespace stflow
#else
#include "ops/cuda/stored.h"

namespace stflow {
namespace {

constexpr int kTile = 16;

// The nearest number with 10 bits of mantissa.
__device__ float rounded_to_tf32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
  memcpy(&x, &bits, sizeof bits);
  return x;
}

// One block a tile of C; a thread an element of it.
template <class T, class C>
__global__ void matmul_kernel(int64_t m, int64_t n, int64_t k, const T* a, const T* b, Operand at_a, Operand at_b, Product to, bool tf32) {
  float* left = shared_array<float, kTile * kTile, class Left>();
  float* right = shared_array<float, kTile * kTile, class Right>();
  const int64_t tiles = (n + kTile - 1) / kTile;
  const int row = int(threadIdx.x) / kTile, column = int(threadIdx.x) % kTile;
  const int64_t i = blockIdx.x / tiles * kTile + row, j = blockIdx.x % tiles * kTile + column;
  const auto factor = [=](T x) { return tf32 ? rounded_to_tf32(loaded(x)) : loaded(x); };
  const bool sums = to.row_sums && j == 0;
  float sum = 0, of_row = 0;
  for (int64_t at = 0; at < k; at += kTile) {
    const int64_t p = at + column, q = at + row;
    left[threadIdx.x] = i < m && p < k ? factor(a[at_a.transposed ? p * at_a.ld + i : i * at_a.ld + p]) : 0;
    right[threadIdx.x] = q < k && j < n ? factor(b[at_b.transposed ? j * at_b.ld + q : q * at_b.ld + j]) : 0;
    __syncthreads();
    for (int d = 0; d < kTile; d++) sum += left[row * kTile + d] * right[d * kTile + column];
    for (int d = 0; sums && d < kTile; d++) of_row += left[row * kTile + d];
    __syncthreads();
  }
  if (i >= m || j >= n) return;
  if (sums) to.row_sums[i] = of_row;
  auto* c = static_cast<C*>(to.data) + i * to.ld + j;
  if (to.bias) sum += loaded(static_cast<const C*>(to.bias)[j]);
  store(c, to.add ? loaded(*c) + sum : sum);
}

}  // namespace

bool matmul(Cuda on, int64_t m, int64_t n, int64_t k, Operand a, Operand b, Product c) {
  check(!c.row_sums || (!c.bias && a.type == DType::f32), "matmul: sums of rows beside a bias, or of {}", name_of(a.type));
  check(a.type == b.type && (c.type == a.type || c.type == DType::f32), "matmul: {} x {} to {}", name_of(a.type), name_of(b.type),
        name_of(c.type));
  const int64_t tiles = (m + kTile - 1) / kTile * ((n + kTile - 1) / kTile);
  by_storage(a.type, [&](auto factor) {
    by_storage(c.type, [&](auto result) {
      using T = decltype(factor);
      launch("matmul", matmul_kernel<T, decltype(result)>, {unsigned(tiles), kTile * kTile, 0, stream_of(on)}, m, n, k,
             static_cast<const T*>(a.data), static_cast<const T*>(b.data), a, b, c, on.tf32);
    });
  });
  return c.row_sums && tiles > 0;
}

}  // namespace stflow
#endif
