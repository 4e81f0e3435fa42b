// Floor at 10,000 spots, 8 neighbours, 4 heads, D = 32, 2m = 128 on an H100: forward 2.6 GFLOP and 20 million exponentials; it reads query
// and key (20 MB each, their gathers fit the second cache), gene (5 MB) and edge (41 MB) and writes the scores: 90 MB, 30 us at 3.0 TB/s.
// Backward writes the hidden layer's gradient once (164 MB) and reads it four times: 0.3 ms.
#include "ops/edge_score.h"

#include "ops/cuda/dropout_mask.h"
#include "ops/cuda/gate.h"
#include "ops/cuda/gemm.h"

namespace stflow {
namespace {

constexpr float kEps = 1e-5f;
constexpr unsigned kWarps = 8;                // of a block; a warp takes a row (spot, slot, head) after another
constexpr int64_t kSharedWeight = 32 * 1024;  // numbers of We that are kept in shared memory; a larger one is read through the caches

struct Problem {
  int64_t k, heads, rows;
  int m, width;
  const float *query, *key, *gene, *edge, *we, *norm_weight, *norm_bias, *fc2_weight, *fc2_bias;
  const int32_t *idx, *reverse_start, *reverse;
  DropoutMask mask;

  explicit Problem(const EdgeScore& a)
      : k(a.graph->k),
        heads(a.heads()),
        rows(a.rows()),
        m(int(a.half())),
        width(int(a.width())),
        query(a.query.as<float>()),
        key(a.key.as<float>()),
        gene(a.gene.as<float>()),
        edge(a.edge.as<float>()),
        we(a.edge_weight.as<float>()),
        norm_weight(a.norm_weight.as<float>()),
        norm_bias(a.norm_bias.as<float>()),
        fc2_weight(a.fc2_weight.as<float>()),
        fc2_bias(a.fc2_bias.as<float>()),
        idx(a.graph->idx.as<int32_t>()),
        reverse_start(a.graph->reverse_start.as<int32_t>()),
        reverse(a.graph->reverse.as<int32_t>()),
        mask(a.dropout) {}
  [[nodiscard]] bool keeps_weight() const { return int64_t(2) * m * width <= kSharedWeight; }
  /// Numbers of shared memory: We transposed, then for each warp e, u, h and its sums of backward.
  [[nodiscard]] size_t shared() const {
    return (size_t(keeps_weight() ? 2 * m * width : 0) + kWarps * (size_t(width) + 4 * size_t(m) + 1)) * sizeof(float);
  }
};

/// A warp's place in shared memory, and We as it reads it: element (column c, feature j) at we[c * column + j * feature].
struct Place {
  const float* we;
  int column, feature;
  float *e, *u, *h, *sums;
};

__device__ Place place(const Problem& p) {
  float* at = dynamic_shared<float>();
  Place to{p.we, p.width, 1, nullptr, nullptr, nullptr, nullptr};
  if (int64_t(2) * p.m * p.width <= kSharedWeight) {
    for (int i = int(threadIdx.x); i < 2 * p.m * p.width; i += int(blockDim.x)) at[i % p.width * 2 * p.m + i / p.width] = p.we[i];
    to.we = at, to.column = 1, to.feature = 2 * p.m;
    at += 2 * p.m * p.width;
  }
  __syncthreads();
  at += int(threadIdx.x) / kWarp * (p.width + 4 * p.m + 1);
  to.e = at, to.u = at + p.width, to.h = to.u + 2 * p.m, to.sums = to.h + p.m;
  return to;
}

/// The row's hidden layer into s.u, its gate into s.h; reached by all lanes. Lane l owns the columns l, l + 32, ... of both halves.
__device__ RowStats row_forward(const Problem& p, const Place& s, bool real, int64_t row) {
  const int lane = int(threadIdx.x) % kWarp, m2 = 2 * p.m;
  const int64_t edge = row / p.heads, head = row % p.heads, i = edge / p.k;
  for (int j = lane; real && j < p.width; j += kWarp) s.e[j] = p.edge[row * p.width + j];
  __syncwarp();
  if (real) {
    const int64_t other = p.idx[edge];
    const float *q = p.query + (i * p.heads + head) * m2, *k = p.key + (other * p.heads + head) * m2;
    const float *gi = p.gene + i * m2, *gj = p.gene + other * m2;
    for (int half = 0; half < 2; half++)
      for (int c = half * p.m + lane; c < (half + 1) * p.m; c += kWarp) {
        float dot = 0;
        for (int j = 0; j < p.width; j++) dot = fmaf(s.we[c * s.column + j * s.feature], s.e[j], dot);
        s.u[c] = dot + q[c] + k[c] + (gj[c] - gi[c]);
      }
  }
  const RowStats r = gate_row(
      real, p.m, kEps, [&](int c) { return silu(s.u[c]) * s.u[p.m + c] * p.mask(row * p.m + c); }, s.h);
  __syncwarp();  // s.e is overwritten next
  return r;
}

__global__ void forward_kernel(Problem p, float* __restrict__ y) {
  const Place s = place(p);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  for (int64_t first = int64_t(blockIdx.x) * kWarps; first < p.rows; first += int64_t(gridDim.x) * kWarps) {
    const int64_t row = first + warp;
    const bool real = row < p.rows;
    const RowStats r = row_forward(p, s, real, row);
    float dot = 0;
    for (int c = lane; c < p.m && real; c += kWarp)
      dot = fmaf(fmaf((s.h[c] - r.mean) * r.scale, p.norm_weight[c], p.norm_bias[c]), p.fc2_weight[c], dot);
    dot = warp_sum(dot);
    if (real && lane == 0) y[row] = dot + *p.fc2_bias;
  }
}

// du (rows, 2m); partial (blocks, m + 1): sums of dy n (n = normalised h) and of dy over the rows of a block.
__global__ void rows_kernel(Problem p, const float* __restrict__ dy, float* __restrict__ du, float* __restrict__ partial, int64_t share) {
  const Place s = place(p);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  for (int c = lane; c <= p.m; c += kWarp) s.sums[c] = 0;
  const int64_t begin = int64_t(blockIdx.x) * share, end = min(begin + share, p.rows);
  for (int64_t first = begin; first < end; first += kWarps) {
    const int64_t row = first + warp;
    const bool real = row < end;
    const RowStats r = row_forward(p, s, real, row);
    const float d = real ? dy[row] : 0;
    for (int c = lane; real && c < p.m; c += kWarp) s.sums[c] = fmaf(d, (s.h[c] - r.mean) * r.scale, s.sums[c]);
    normalise_row_backward(
        real, p.m, r, s.h, [&](int c) { return d * p.fc2_weight[c] * p.norm_weight[c]; },
        [&](int c, float dh) {
          dh *= p.mask(row * p.m + c);
          const float u1 = s.u[c], sigmoid = 1 / (1 + expf(-u1)), value = u1 * sigmoid;
          du[row * 2 * p.m + c] = dh * s.u[p.m + c] * (sigmoid + value - value * sigmoid);
          du[row * 2 * p.m + p.m + c] = dh * value;
        });
    if (lane == 0) s.sums[p.m] += d;
  }
  __syncthreads();
  const int stride = p.width + 4 * p.m + 1;  // from a warp's sums to the next one's
  const float* sums = s.sums - warp * stride;
  for (int c = int(threadIdx.x); c <= p.m; c += int(blockDim.x)) {
    float total = 0;
    for (unsigned w = 0; w < kWarps; w++) total += sums[int(w) * stride + c];
    partial[int64_t(blockIdx.x) * (p.m + 1) + c] = total;
  }
}

// A block takes a spot, a thread a column: its own edges give query and gene, those that point to it key and gene, in list order.
__global__ void spots_kernel(Problem p, const float* __restrict__ du, float* __restrict__ dquery, float* __restrict__ dkey,
                             float* __restrict__ dgene) {
  const int64_t i = blockIdx.x, m2 = 2 * p.m;
  const int32_t begin = p.reverse_start[i], end = p.reverse_start[i + 1];
  for (int64_t c = threadIdx.x; c < m2; c += blockDim.x) {
    float gene = 0;
    for (int64_t h = 0; h < p.heads; h++) {
      float own = 0, other = 0;
      for (int64_t j = 0; j < p.k; j++) own += du[((i * p.k + j) * p.heads + h) * m2 + c];
      for (int32_t r = begin; r < end; r++) other += du[(int64_t(p.reverse[r]) * p.heads + h) * m2 + c];
      if (dquery) dquery[(i * p.heads + h) * m2 + c] += own;
      if (dkey) dkey[(i * p.heads + h) * m2 + c] += other;
      gene += other - own;
    }
    if (dgene) dgene[i * m2 + c] += gene;
  }
}

// The gradients of norm and fc2 from S = sum of dy n and s = sum of dy.
__global__ void parameters_kernel(Problem p, const float* __restrict__ partial, int64_t pieces, float* dnorm_weight, float* dnorm_bias,
                                  float* dfc2_weight, float* dfc2_bias) {
  const int c = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (c > p.m) return;
  float S = 0, total = 0;
  for (int64_t piece = 0; piece < pieces; piece++) S += partial[piece * (p.m + 1) + c], total += partial[piece * (p.m + 1) + p.m];
  if (c == p.m) {
    if (dfc2_bias) *dfc2_bias += total;
    return;
  }
  if (dnorm_weight) dnorm_weight[c] += p.fc2_weight[c] * S;
  if (dnorm_bias) dnorm_bias[c] += p.fc2_weight[c] * total;
  if (dfc2_weight) dfc2_weight[c] += p.norm_weight[c] * S + p.norm_bias[c] * total;
}

}  // namespace

template <> void edge_score_forward(Cuda on, const EdgeScore& a, Tensor y) {
  const Problem p(a);
  const unsigned blocks = min(blocks_for(p.rows, kWarps), unsigned(kCudaScorePieces) * 4);
  launch("edge_score_forward", forward_kernel, {blocks, kWarps * kWarp, p.shared(), stream_of(on)}, p, y.as<float>());
}

template <> void edge_score_backward(Cuda on, const EdgeScore& a, Tensor dy, const EdgeScoreGrads& d, void* scratch) {
  const Problem p(a);
  const int64_t m2 = 2 * p.m;
  auto *du = static_cast<float*>(scratch), *partial = du + p.rows * m2;
  launch("edge_score_rows", rows_kernel, {unsigned(kCudaScorePieces), kWarps * kWarp, p.shared(), stream_of(on)}, p, dy.as<float>(), du,
         partial, (p.rows + kCudaScorePieces - 1) / kCudaScorePieces);
  if (d.query.data || d.key.data || d.gene.data)
    launch("edge_score_spots", spots_kernel, {unsigned(a.graph->n), 128, 0, stream_of(on)}, p, du, d.query.as<float>(), d.key.as<float>(),
           d.gene.as<float>());
  launch("edge_score_parameters", parameters_kernel, {blocks_for(p.m + 1, 128), 128, 0, stream_of(on)}, p, partial, kCudaScorePieces,
         d.norm_weight.as<float>(), d.norm_bias.as<float>(), d.fc2_weight.as<float>(), d.fc2_bias.as<float>());
  // A row's features are the next `width` numbers of edge.
  if (d.edge.data) matmul(on, p.rows, p.width, m2, {du, m2}, {p.we, p.width}, d.edge.as<float>(), p.width, true);
  if (d.edge_weight.data) matmul(on, m2, p.width, p.rows, {du, m2, true}, {p.edge, p.width}, d.edge_weight.as<float>(), p.width, true);
}

}  // namespace stflow
