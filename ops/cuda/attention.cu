// ViT-L/16, batch 32, 197 tokens, 16 heads of 64: forward reads qkv and writes out, 103 MB, 34 us; backward reads qkv, out, dout and dqkv
// and writes dqkv, 284 MB, 95 us. In float32 the arithmetic takes longer: 5.1 and 18 GFLOP (each of the two backward kernels makes the
// score products), with the last tiles filled up 8.6 and 30, 0.13 and 0.45 ms at 67 TFLOP/s. In bf16 forward is cuDNN's, on tensor cores
// (cudnn_attention.cu); where that is not to be had, this kernel reads and writes bf16 and takes as long as in float32.
// The tokens x tokens matrix never exists: a block makes tiles of it and uses them up (Dao, FlashAttention-2, 2023). Backward runs once
// per query tile for dq and once per key tile for dk and dv, so that no two blocks add to the same number.
#include "ops/attention.h"

#include <type_traits>

#include "ops/cuda/cudnn_attention.h"
#include "ops/cuda/reduce.h"
#include "ops/cuda/stored.h"

namespace stflow {
namespace {

constexpr int kTile = 64;            // queries and keys of a tile
constexpr int kSide = 16, kOwn = 4;  // 16 x 16 threads; thread (y, x) owns rows y + 16 i and columns x + 16 j of a tile
constexpr int kScorePitch = kTile + 4;
constexpr unsigned kThreads = kSide * kSide;

// What the kernels read: one block works for one tile of one (image, head).
template <class T = float> struct Heads {
  const T* qkv;
  int64_t tokens, queries, d;  // d = heads * n
  int heads, n;
  float scale;
};

// Where a block works. Pointers of qkv and dqkv advance by 3 d a token, those of out and dout by d.
struct Place {
  int64_t pair, first, in, out;  // of the tile's first token: (image, head), token, index into qkv, index into out
};
// `rows`: the queries or the tokens, whichever the blocks share.
template <class T> __device__ Place place_of(const Heads<T>& h, int64_t rows) {
  const int64_t tiles = (rows + kTile - 1) / kTile, pair = blockIdx.x / tiles, image = pair / h.heads, column = pair % h.heads * h.n;
  return {pair, blockIdx.x % tiles * kTile, image * h.tokens * 3 * h.d + column, image * h.queries * h.d + column};
}

// Rows of a shared tile hold 16 C numbers, zero beyond n, and lie 16 C + 4 apart: float4 reads of eight rows meet all banks once.
template <int C> constexpr int kPitch = 16 * C + 4;

template <int C, class T> __device__ void load_tile(float* to, const T* from, int64_t stride, int64_t rows, int n) {
  for (int i = int(threadIdx.x); i < kTile * kSide * C; i += int(kThreads)) {
    const int r = i / (kSide * C), c = i % (kSide * C);
    to[r * kPitch<C> + c] = r < rows && c < n ? loaded(from[r * stride + c]) : 0;
  }
}

// s[i][j] = row y + 16 i of a times row x + 16 j of b.
template <int C> __device__ void score(const float* a, const float* b, float (&s)[kOwn][kOwn]) {
  a += threadIdx.x / kSide * kPitch<C>, b += threadIdx.x % kSide * kPitch<C>;
  for (auto& row : s)
    for (float& v : row) v = 0;
#ifdef __CUDACC__
#pragma unroll 1  // more would spill
#endif
  for (int c = 0; c < kSide * C; c += 4) {
    float4 left[kOwn];
    for (int i = 0; i < kOwn; i++) left[i] = *reinterpret_cast<const float4*>(a + i * kSide * kPitch<C> + c);
    for (int j = 0; j < kOwn; j++) {
      const float4 right = *reinterpret_cast<const float4*>(b + j * kSide * kPitch<C> + c);
      for (int i = 0; i < kOwn; i++)
        s[i][j] = fmaf(left[i].w, right.w, fmaf(left[i].z, right.z, fmaf(left[i].y, right.y, fmaf(left[i].x, right.x, s[i][j]))));
    }
  }
}

// to[i][c] += row y + 16 i of the score tile p times column x + 16 c of b. The threads of a warp wrote the rows of p that they read.
template <int C> __device__ void add_product(const float* p, const float* b, float (&to)[kOwn][C]) {
  p += threadIdx.x / kSide * kScorePitch, b += threadIdx.x % kSide;
#ifdef __CUDACC__
#pragma unroll 1  // more would spill
#endif
  for (int k = 0; k < kTile; k += 4) {
    float4 left[kOwn];
    for (int i = 0; i < kOwn; i++) left[i] = *reinterpret_cast<const float4*>(p + i * kSide * kScorePitch + k);
    for (int c = 0; c < C; c++) {
      const float* column = b + k * kPitch<C> + c * kSide;
      for (int i = 0; i < kOwn; i++) {
        to[i][c] = fmaf(left[i].x, column[0], to[i][c]);
        to[i][c] = fmaf(left[i].y, column[kPitch<C>], to[i][c]);
        to[i][c] = fmaf(left[i].z, column[2 * kPitch<C>], to[i][c]);
        to[i][c] = fmaf(left[i].w, column[3 * kPitch<C>], to[i][c]);
      }
    }
  }
}

// Over the sixteen threads that own parts of the same rows.
__device__ float row_sum(float v) {
  for (int m = kSide / 2; m; m /= 2) v += __shfl_xor_sync(kAllLanes, v, m);
  return v;
}
__device__ float row_max(float v) {
  for (int m = kSide / 2; m; m /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, m));
  return v;
}

__device__ float& score_at(float* p, int i, int j) {
  return p[(int(threadIdx.x) / kSide + kSide * i) * kScorePitch + int(threadIdx.x) % kSide + kSide * j];
}

template <int C, class From, class To> __global__ void __launch_bounds__(kThreads) forward_kernel(Heads<From> h, To* out, float* sums) {
  float *q = dynamic_shared<float>(), *k = q + kTile * kPitch<C>, *v = k + kTile * kPitch<C>, *p = v + kTile * kPitch<C>;
  const int x = int(threadIdx.x) % kSide, y = int(threadIdx.x) / kSide;
  const Place at = place_of(h, h.queries);
  const From* in = h.qkv + at.in;
  load_tile<C>(q, in + at.first * 3 * h.d, 3 * h.d, h.queries - at.first, h.n);
  float o[kOwn][C] = {}, top[kOwn], total[kOwn] = {};
  for (float& t : top) t = -INFINITY;
  for (int64_t key = 0; key < h.tokens; key += kTile) {
    __syncthreads();
    load_tile<C>(k, in + h.d + key * 3 * h.d, 3 * h.d, h.tokens - key, h.n);
    load_tile<C>(v, in + 2 * h.d + key * 3 * h.d, 3 * h.d, h.tokens - key, h.n);
    __syncthreads();
    float s[kOwn][kOwn];
    score<C>(q, k, s);
    for (int i = 0; i < kOwn; i++) {
      float now = top[i], sum = 0;
      for (int j = 0; j < kOwn; j++) {
        s[i][j] = key + x + kSide * j < h.tokens ? s[i][j] * h.scale : -INFINITY;
        now = fmaxf(now, s[i][j]);
      }
      now = row_max(now);
      for (int j = 0; j < kOwn; j++) sum += score_at(p, i, j) = expf(s[i][j] - now);
      const float shrink = expf(top[i] - now);  // 0 at the first tile
      total[i] = total[i] * shrink + row_sum(sum), top[i] = now;
      for (int c = 0; c < C; c++) o[i][c] *= shrink;
    }
    __syncwarp();
    add_product<C>(p, v, o);
  }
  for (int i = 0; i < kOwn; i++) {
    const int64_t token = at.first + y + kSide * i;
    for (int c = 0; c < C; c++)
      if (token < h.queries && x + kSide * c < h.n) store(out + at.out + token * h.d + x + kSide * c, o[i][c] / total[i]);
    if (sums && token < h.queries && x == 0) sums[at.pair * h.queries + token] = top[i] + logf(total[i]);
  }
}

// With p = exp(scale s - sum), g = dout v^T and D = the sum of dout * out per query:  ds = p (g - D) scale,  dq += ds k.
// `dots` receives D.
template <int C>
__global__ void __launch_bounds__(kThreads) dq_kernel(Heads<> h, const float* __restrict__ out, const float* __restrict__ dout,
                                                      const float* __restrict__ sums, float* __restrict__ dqkv, float* __restrict__ dots) {
  float *q = dynamic_shared<float>(), *g = q + kTile * kPitch<C>, *k = g + kTile * kPitch<C>, *v = k + kTile * kPitch<C>;
  float* ds = v + kTile * kPitch<C>;
  const int x = int(threadIdx.x) % kSide, y = int(threadIdx.x) / kSide;
  const Place at = place_of(h, h.queries);
  const float* in = h.qkv + at.in;
  load_tile<C>(q, in + at.first * 3 * h.d, 3 * h.d, h.queries - at.first, h.n);
  load_tile<C>(g, dout + at.out + at.first * h.d, h.d, h.queries - at.first, h.n);
  float dq[kOwn][C] = {}, log_sum[kOwn], dot[kOwn];
  for (int i = 0; i < kOwn; i++) {
    const int64_t token = at.first + y + kSide * i, from = at.out + token * h.d;
    const bool real = token < h.queries;
    float d = 0;
    for (int c = x; real && c < h.n; c += kSide) d = fmaf(out[from + c], dout[from + c], d);
    dot[i] = row_sum(d);
    log_sum[i] = real ? sums[at.pair * h.queries + token] : 0;
    if (real && x == 0) dots[at.pair * h.queries + token] = dot[i];
  }
  for (int64_t key = 0; key < h.tokens; key += kTile) {
    __syncthreads();
    load_tile<C>(k, in + h.d + key * 3 * h.d, 3 * h.d, h.tokens - key, h.n);
    load_tile<C>(v, in + 2 * h.d + key * 3 * h.d, 3 * h.d, h.tokens - key, h.n);
    __syncthreads();
    float s[kOwn][kOwn], t[kOwn][kOwn];
    score<C>(q, k, s);
    score<C>(g, v, t);
    for (int i = 0; i < kOwn; i++)
      for (int j = 0; j < kOwn; j++) {
        const bool real = key + x + kSide * j < h.tokens;
        score_at(ds, i, j) = real ? expf(fmaf(s[i][j], h.scale, -log_sum[i])) * (t[i][j] - dot[i]) * h.scale : 0;
      }
    __syncwarp();
    add_product<C>(ds, k, dq);
  }
  for (int i = 0; i < kOwn; i++)
    for (int c = 0; c < C; c++) {
      const int64_t token = at.first + y + kSide * i;
      if (token < h.queries && x + kSide * c < h.n) dqkv[at.in + token * 3 * h.d + x + kSide * c] += dq[i][c];
    }
}

// Likewise with keys as rows of the score tiles:  dv += p dout,  dk += ds q.
template <int C>
__global__ void __launch_bounds__(kThreads) dkdv_kernel(Heads<> h, const float* __restrict__ dout, const float* __restrict__ sums,
                                                        const float* __restrict__ dots, float* __restrict__ dqkv) {
  float *q = dynamic_shared<float>(), *g = q + kTile * kPitch<C>, *k = g + kTile * kPitch<C>, *v = k + kTile * kPitch<C>;
  float* p = v + kTile * kPitch<C>;  // then ds: one score tile, so that heads of 64 fit 99 KB
  const int x = int(threadIdx.x) % kSide, y = int(threadIdx.x) / kSide;
  const Place at = place_of(h, h.tokens);
  const float* in = h.qkv + at.in;
  load_tile<C>(k, in + h.d + at.first * 3 * h.d, 3 * h.d, h.tokens - at.first, h.n);
  load_tile<C>(v, in + 2 * h.d + at.first * 3 * h.d, 3 * h.d, h.tokens - at.first, h.n);
  float dk[kOwn][C] = {}, dv[kOwn][C] = {};
  for (int64_t query = 0; query < h.queries; query += kTile) {
    __syncthreads();
    load_tile<C>(q, in + query * 3 * h.d, 3 * h.d, h.queries - query, h.n);
    load_tile<C>(g, dout + at.out + query * h.d, h.d, h.queries - query, h.n);
    __syncthreads();
    float s[kOwn][kOwn], t[kOwn][kOwn];
    score<C>(k, q, s);
    score<C>(v, g, t);
    for (int j = 0; j < kOwn; j++) {
      const int64_t token = query + x + kSide * j;
      const bool real = token < h.queries;
      const float log_sum = real ? sums[at.pair * h.queries + token] : 0, dot = real ? dots[at.pair * h.queries + token] : 0;
      for (int i = 0; i < kOwn; i++) {
        const float e = real ? expf(fmaf(s[i][j], h.scale, -log_sum)) : 0;
        score_at(p, i, j) = e;
        t[i][j] = e * (t[i][j] - dot) * h.scale;
      }
    }
    __syncwarp();
    add_product<C>(p, g, dv);
    __syncwarp();
    for (int i = 0; i < kOwn; i++)
      for (int j = 0; j < kOwn; j++) score_at(p, i, j) = t[i][j];
    __syncwarp();
    add_product<C>(p, q, dk);
  }
  for (int i = 0; i < kOwn; i++)
    for (int c = 0; c < C; c++) {
      const int64_t token = at.first + y + kSide * i, to = at.in + token * 3 * h.d + x + kSide * c;
      if (token < h.tokens && x + kSide * c < h.n) dqkv[to + h.d] += dk[i][c], dqkv[to + 2 * h.d] += dv[i][c];
    }
}

// Calls f with the C whose 16 C columns hold a head.
template <class F> void by_width(int64_t n, F f) {
  check(n <= kCudaHeadDim, "attention: heads of {} numbers, expected at most {} on a GPU", n, kCudaHeadDim);
  if (n <= 32) f(std::integral_constant<int, 2>());
  else if (n <= 64) f(std::integral_constant<int, 4>());
  else if (n <= 80) f(std::integral_constant<int, 5>());
  else f(std::integral_constant<int, 8>());
}

template <class T = float> Heads<T> heads_of(Tensor qkv, int heads, Tensor out) {
  const int64_t d = out.shape[2], n = d / heads;
  return {qkv.as<T>(), qkv.shape[1], out.shape[1], d, heads, int(n), float(1 / std::sqrt(double(n)))};
}

// Blocks that share `rows` of each (image, head), and shared memory of a kernel that holds `tiles` tiles of rows and a score tile.
template <int C> Launch launch_of(Cuda on, int64_t pairs, int64_t rows, int tiles) {
  const int64_t blocks = pairs * ((rows + kTile - 1) / kTile);
  return {unsigned(blocks), kThreads, size_t(kTile * (tiles * kPitch<C> + kScorePitch)) * sizeof(float), stream_of(on)};
}

}  // namespace

template <> void attention_forward(Cuda on, Tensor qkv, int heads, Tensor out, Tensor sums, void*) {
  const bool all = out.shape[1] == qkv.shape[1];
  if (all && qkv.type == DType::bf16 && out.type == DType::bf16 && !sums.data && cudnn_attention(on, qkv, heads, out)) return;
  const auto run = [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    const Heads<From> h = heads_of<From>(qkv, heads, out);
    by_width(h.n, [&](auto width) {
      constexpr int C = decltype(width)::value;
      launch("attention_forward", forward_kernel<C, From, To>, launch_of<C>(on, qkv.shape[0] * heads, h.queries, 3), h, out.as<To>(),
             sums.as<float>());
    });
  };
  if (qkv.type == DType::f32) return run(float{}, float{});
  by_storage(out.type, [&](auto to) { run(Bfloat{}, to); });
}

template <> void attention_backward(Cuda on, Tensor qkv, int heads, Tensor out, Tensor sums, Tensor dout, Tensor dqkv, void* scratch) {
  const Heads<> h = heads_of(qkv, heads, out);
  const int64_t pairs = qkv.shape[0] * heads;
  auto* dots = static_cast<float*>(scratch);
  by_width(h.n, [&](auto width) {
    constexpr int C = decltype(width)::value;
    launch("attention_dq", dq_kernel<C>, launch_of<C>(on, pairs, h.queries, 4), h, out.as<float>(), dout.as<float>(), sums.as<float>(),
           dqkv.as<float>(), dots);
    launch("attention_dkdv", dkdv_kernel<C>, launch_of<C>(on, pairs, h.tokens, 4), h, dout.as<float>(), sums.as<float>(), dots,
           dqkv.as<float>());
  });
}

}  // namespace stflow
