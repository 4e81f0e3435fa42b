// Swin-T's first stage at batch 32 (56 x 56 cells of 96, windows of 7, 3 heads) on an H100 (3.0 TB/s): forward reads qkv and writes out,
// 154 MB, 51 us; backward reads qkv and dout, reads and writes dqkv and writes and reads the score gradients, 541 MB, 180 us.
// One block a window and head: a window's rows and its scores fit shared memory (46 KB at windows of 7 and heads of 32).
#include "ops/window_attention.h"

#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kWarps = int(kThreads) / kWarp;

struct Windows {
  const float *qkv, *bias;
  WindowGrid grid;
  int64_t d;
  int heads, n, cells, pitch;  // rows of n numbers in shared memory lie `pitch` apart: odd, so that a column meets all banks
  float scale;
};

// The block's window: its number in the image, its head, where its image begins.
struct Here {
  int64_t window, head, image;
};
__device__ Here here(const Windows& a) {
  const int64_t w = blockIdx.x / a.heads;
  return {w % a.grid.count(), blockIdx.x % a.heads, w / a.grid.count() * a.grid.side * a.grid.side};
}

// The window's rows from an array with rows of `stride`.
__device__ void gather(const Windows& a, const Here& h, const float* from, int64_t stride, int64_t column, float* to) {
  for (int e = int(threadIdx.x); e < a.cells * a.n; e += int(kThreads)) {
    const int i = e / a.n, c = e % a.n;
    to[i * a.pitch + c] = from[(h.image + a.grid.cell(h.window, i)) * stride + column + h.head * a.n + c];
  }
}

__device__ float dot(const float* a, const float* b, int n) {
  float sum = 0;
  for (int c = 0; c < n; c++) sum = fmaf(a[c], b[c], sum);
  return sum;
}

// Row i of softmax(scale q k^T + bias) into p, by one warp.
__device__ void softmax_row(const Windows& a, const Here& h, const float* q, const float* k, int i, float* p) {
  const int lane = int(threadIdx.x) % kWarp;
  float top = -INFINITY, total = 0;
  for (int j = lane; j < a.cells; j += kWarp) {
    const bool seen = a.grid.part(h.window, i) == a.grid.part(h.window, j);
    const float s = fmaf(dot(q + i * a.pitch, k + j * a.pitch, a.n), a.scale, a.bias[a.grid.offset(i, j) * a.heads + h.head]);
    p[j] = seen ? s : -INFINITY;
    top = fmaxf(top, p[j]);
  }
  top = warp_max(top);
  for (int j = lane; j < a.cells; j += kWarp) total += p[j] = expf(p[j] - top);
  total = warp_sum(total);
  for (int j = lane; j < a.cells; j += kWarp) p[j] /= total;
  __syncwarp();
}

__global__ void forward_kernel(Windows a, float* __restrict__ out) {
  const int tile = a.cells * a.pitch, lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  float *q = dynamic_shared<float>(), *k = q + tile, *v = k + tile, *p = v + tile + warp * a.cells;
  const Here h = here(a);
  gather(a, h, a.qkv, 3 * a.d, 0, q);
  gather(a, h, a.qkv, 3 * a.d, a.d, k);
  gather(a, h, a.qkv, 3 * a.d, 2 * a.d, v);
  __syncthreads();
  for (int i = warp; i < a.cells; i += kWarps) {
    softmax_row(a, h, q, k, i, p);
    for (int c = lane; c < a.n; c += kWarp) {
      float sum = 0;
      for (int j = 0; j < a.cells; j++) sum = fmaf(p[j], v[j * a.pitch + c], sum);
      out[(h.image + a.grid.cell(h.window, i)) * a.d + h.head * a.n + c] = sum;
    }
    __syncwarp();
  }
}

// With g = dout v^T and D = the sum of p g per query:  ds = p (g - D),  dv += p^T dout,  dq += scale ds k,  dk += scale ds^T q.
// A cell lies in one window: no other block adds to it. `slopes` receives ds (windows, heads, cells, cells).
__global__ void backward_kernel(Windows a, const float* __restrict__ dout, float* __restrict__ dqkv, float* __restrict__ slopes) {
  const int tile = a.cells * a.pitch, lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  float *q = dynamic_shared<float>(), *k = q + tile, *v = k + tile, *g = v + tile, *p = g + tile, *ds = p + a.cells * a.cells;
  const Here h = here(a);
  gather(a, h, a.qkv, 3 * a.d, 0, q);
  gather(a, h, a.qkv, 3 * a.d, a.d, k);
  gather(a, h, a.qkv, 3 * a.d, 2 * a.d, v);
  gather(a, h, dout, a.d, 0, g);
  __syncthreads();
  for (int i = warp; i < a.cells; i += kWarps) {
    float *row = p + i * a.cells, *slope = ds + i * a.cells;
    softmax_row(a, h, q, k, i, row);
    float own = 0;
    for (int j = lane; j < a.cells; j += kWarp) own = fmaf(row[j], slope[j] = dot(g + i * a.pitch, v + j * a.pitch, a.n), own);
    own = warp_sum(own);
    for (int j = lane; j < a.cells; j += kWarp) {
      slope[j] = row[j] * (slope[j] - own);
      slopes[(int64_t(blockIdx.x) * a.cells + i) * a.cells + j] = slope[j];
    }
  }
  __syncthreads();
  if (!dqkv) return;
  for (int e = int(threadIdx.x); e < a.cells * a.n; e += int(kThreads)) {
    const int i = e / a.n, c = e % a.n;
    float dq = 0, dk = 0, dv = 0;
    for (int j = 0; j < a.cells; j++) {
      dq = fmaf(ds[i * a.cells + j], k[j * a.pitch + c], dq);
      dk = fmaf(ds[j * a.cells + i], q[j * a.pitch + c], dk);
      dv = fmaf(p[j * a.cells + i], g[j * a.pitch + c], dv);
    }
    float* to = dqkv + (h.image + a.grid.cell(h.window, i)) * 3 * a.d + h.head * a.n + c;
    to[0] += dq * a.scale, to[a.d] += dk * a.scale, to[2 * a.d] += dv;
  }
}

// One warp a number of the bias: its lanes take the windows in turn.
__global__ void bias_kernel(const float* __restrict__ slopes, float* __restrict__ dbias, WindowGrid grid, int64_t windows, int heads) {
  const int cells = int(grid.cells()), lane = int(threadIdx.x) % kWarp;
  const int64_t entries = (2 * grid.window - 1) * (2 * grid.window - 1) * heads;
  const int64_t entry = int64_t(blockIdx.x) * kWarps + threadIdx.x / kWarp, head = entry % heads, offset = entry / heads;
  float sum = 0;
  for (int64_t w = lane; entry < entries && w < windows; w += kWarp)
    for (int i = 0; i < cells; i++) {
      const int64_t width = 2 * grid.window - 1;
      const int64_t y = i / grid.window - offset / width + grid.window - 1, x = i % grid.window - offset % width + grid.window - 1;
      if (y < 0 || y >= grid.window || x < 0 || x >= grid.window) continue;  // the key that lies so from query i
      sum += slopes[((w * heads + head) * cells + i) * cells + y * grid.window + x];
    }
  sum = warp_sum(sum);
  if (entry < entries && lane == 0) dbias[entry] += sum;
}

Windows windows_of(const Tensor& qkv, const Tensor& bias, int heads, const WindowGrid& grid) {
  const int64_t d = qkv.shape[2] / 3, n = d / heads;
  return {qkv.as<float>(), bias.as<float>(), grid, d, heads, int(n), int(grid.cells()), int(n) | 1, float(1 / std::sqrt(double(n)))};
}

// One block a window and head, with `tiles` tiles of rows and `scores` rows of scores in shared memory.
Launch launch_of(Cuda on, const Windows& a, int64_t windows, int tiles, int scores) {
  const size_t shared = size_t(tiles * a.cells * a.pitch + scores * a.cells) * sizeof(float);
  check(shared <= 227 * 1024,
        "window_attention: windows of {} with heads of {} numbers need {} bytes of shared memory, expected at most {}", a.grid.window, a.n,
        shared, 227 * 1024);
  return {unsigned(windows * a.heads), kThreads, shared, stream_of(on)};
}

}  // namespace

template <> void window_attention_forward(Cuda on, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor out, void*) {
  const Windows a = windows_of(qkv, bias, heads, grid);
  launch("window_attention_forward", forward_kernel, launch_of(on, a, qkv.shape[0] * grid.count(), 3, kWarps), a, out.as<float>());
}

template <>
void window_attention_backward(Cuda on, Tensor qkv, Tensor bias, int heads, WindowGrid grid, Tensor dout, Tensor dqkv, Tensor dbias,
                               void* scratch) {
  const Windows a = windows_of(qkv, bias, heads, grid);
  const int64_t windows = qkv.shape[0] * grid.count();
  auto* slopes = static_cast<float*>(scratch);
  launch("window_attention_backward", backward_kernel, launch_of(on, a, windows, 4, 2 * a.cells), a, dout.as<float>(), dqkv.as<float>(),
         slopes);
  if (dbias.data && windows > 0)
    launch("window_attention_bias", bias_kernel, {blocks_for(bias.size(), kWarps), kThreads, 0, stream_of(on)}, slopes, dbias.as<float>(),
           grid, windows, heads);
}

}  // namespace stflow
