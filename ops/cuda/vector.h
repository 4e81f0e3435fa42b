// Four numbers at a time, sixteen bytes in float and eight in bf16, where arrays allow it, in kernels that go number by number: a quarter
// of the memory instructions.
#pragma once
#include "ops/cuda/stored.h"

namespace stflow {

struct alignas(16) Four {
  float v[4];
};
struct alignas(8) FourBfloats {
  Bfloat v[4];
};
/// p is aligned to four numbers.
__device__ inline Four load_four(const float* p) { return *reinterpret_cast<const Four*>(p); }
__device__ inline Four load_four(const Bfloat* p) {
  const FourBfloats x = *reinterpret_cast<const FourBfloats*>(p);
  return {{loaded(x.v[0]), loaded(x.v[1]), loaded(x.v[2]), loaded(x.v[3])}};
}
__device__ inline void store_four(float* p, Four x) { *reinterpret_cast<Four*>(p) = x; }
__device__ inline void store_four(Bfloat* p, Four x) {
  FourBfloats y;
  for (int k = 0; k < 4; k++) y.v[k] = to_bfloat(x.v[k]);
  *reinterpret_cast<FourBfloats*>(p) = y;
}

/// The launch in which each thread has four of n elements, and the first of them.
inline Launch by_four(Cuda on, int64_t n) { return {blocks_for(n, 4 * 256), 256, 0, stream_of(on)}; }
__device__ inline int64_t first_of_four() { return 4 * (int64_t(blockIdx.x) * blockDim.x + threadIdx.x); }

/// y[e] = f(x[e]...) for those of the elements e = i .. i + 3 that lie below n, in this order; i is a multiple of four, y may be one of x.
/// Arrays of float or Bfloat; f takes floats and gives one.
template <class Y, class F, class... X> __device__ void map_four(int64_t i, int64_t n, Y* y, F f, const X*... x) {
  const bool aligned = ((reinterpret_cast<uintptr_t>(y) % (4 * sizeof(Y))) | ... | (reinterpret_cast<uintptr_t>(x) % (4 * sizeof(X)))) == 0;
  if (aligned && i + 4 <= n) {
    const auto of_each = [&](const auto&... four) {
      Four to;
      for (int k = 0; k < 4; k++) to.v[k] = f(four.v[k]...);
      return to;
    };
    store_four(y + i, of_each(load_four(x + i)...));
  } else {
    for (int64_t e = i; e < min(i + 4, n); e++) store(y + e, f(loaded(x[e])...));
  }
}

/// The columns of element i and its successors in a matrix, one a call: one division for all.
class ColumnOf {
 public:
  __device__ ColumnOf(int64_t i, int64_t cols) : cols_(cols), next_(i % cols) {}
  __device__ int64_t operator()() {
    const int64_t column = next_;
    next_ = column + 1 < cols_ ? column + 1 : 0;
    return column;
  }

 private:
  int64_t cols_, next_;
};

}  // namespace stflow
