// Floor on an H100 (3.0 TB/s): reads and writes each element once (with `add` reads it twice): at 10,000 x 128 10.2 MB, 3.4 us.
#include "ops/columns.h"

#include "engine/cuda/cuda.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void copy_kernel(const float* __restrict__ x, int64_t x_cols, float* __restrict__ y, int64_t y_cols, int64_t n, int64_t count,
                            bool add) {
  const int64_t i = element();
  if (i >= n) return;
  const int64_t row = i / count, column = i % count;
  float* to = y + row * y_cols + column;
  const float v = x[row * x_cols + column];
  *to = add ? *to + v : v;
}

}  // namespace

template <> void copy_columns(Cuda on, const ColumnCopy& c) {
  launch("copy_columns", copy_kernel, {blocks_for(c.rows * c.count, kThreads), kThreads, 0, stream_of(on)}, c.x.as<float>() + c.x_begin,
         c.x_cols, c.y.as<float>() + c.y_begin, c.y_cols, c.rows * c.count, c.count, c.add);
}

}  // namespace stflow
