// Floor at 10,000 spots, 8 neighbours, 4 heads, D = 32, 2m = 128 on an H100 (3.0 TB/s, 60 TFLOP/s in float32). The gradient of the hidden
// layer would be 164 MB, written once and read four times, 0.27 ms for it alone. So no one stores it. A block computes it for the edges of
// a spot and uses it at once for query, gene, edge and We: reads 88 MB, adds into 67 MB, 0.07 ms. A second kernel computes it again for the
// edges that point to a spot, for key and gene: reads 88 MB, adds into 26 MB, 0.05 ms. The partial sums of We are 6 MB. Together 0.37 GB,
// 0.12 ms, and four products, 10.5 GFLOP, 0.17 ms. What binds is shared memory: some 90 million loads of a warp, 0.4 ms at one a clock and
// SM.
#include "ops/cuda/edge_score.h"

namespace stflow {
namespace {

/// The rows' gradient of the hidden layer into u; reached by all lanes.
__device__ void hidden_gradient(const ScoreProblem& p, const ScorePlace& s, const ScoreRow (&row)[kScoreRows], const float* dy) {
  const int lane = int(threadIdx.x) % kWarp, m = p.m;
  const RowFour scale = score_hidden(p, s, row);
  RowFour along{}, d{};
  float mean = 0;  // of w = fc2 * norm: h's gradient is dy scale (w - mean(w) - h mean(w h))
  for (int c = lane; c < m; c += kWarp) {
    const float w = p.fc2_weight[c] * p.norm_weight[c];
    mean += w;
    for (int r = 0; r < kScoreRows; r++) along.of[r] = fmaf(w, s.h[c].of[r], along.of[r]);
  }
  mean = warp_sum(mean) / float(m);
  for (int r = 0; r < kScoreRows; r++) {
    along.of[r] = warp_sum(along.of[r]) / float(m);
    if (row[r].edge >= 0) d.of[r] = dy[int64_t(row[r].edge) * p.heads + row[r].head];
  }
  for (int c = lane; c < m; c += kWarp) {
    const float w = p.fc2_weight[c] * p.norm_weight[c];
    for (int r = 0; r < kScoreRows; r++) {
      const float dh = d.of[r] * scale.of[r] * (w - mean - s.h[c].of[r] * along.of[r]);
      s.u[c].of[r] *= dh, s.u[m + c].of[r] *= dh;
    }
  }
  if (lane == 0) *s.dy = d;
}

/// Adds the block's rows, of which the first has the head `head`, to a spot's heads (H, 2m) and, times `sign`, to its gene (2m).
__device__ void add_to_spot(const ScoreProblem& p, const ScorePlace& s, int head, float sign, float* heads, float* gene) {
  const int warps = int(blockDim.x) / kWarp, m2 = 2 * p.m;
  for (int t = int(threadIdx.x); heads && t < p.heads * m2; t += int(blockDim.x)) {
    const int h = t % p.heads, c = t / p.heads;
    float sum = 0;
    for (int r = (h - head + p.heads) % p.heads; r < warps * kScoreRows; r += p.heads)
      sum += s.groups[r / kScoreRows * p.group + p.width + c].of[r % kScoreRows];
    heads[h * m2 + c] += sum;
  }
  for (int c = int(threadIdx.x); gene && c < m2; c += int(blockDim.x)) {
    float sum = 0;
    for (int w = 0; w < warps; w++)
      for (float du : s.groups[w * p.group + p.width + c].of) sum += du;
    gene[c] += sign * sum;
  }
}

/// Adds du We to the first `rows` of the block's rows of dedge, which lie one after the other.
__device__ void add_to_edges(const ScoreProblem& p, const ScorePlace& s, int rows, float* dedge) {
  for (int t = int(threadIdx.x); t < int(blockDim.x) / kWarp * p.width; t += int(blockDim.x)) {
    const int w = t / p.width, j = t % p.width;
    const RowFour* u = s.groups + w * p.group + p.width;
    RowFour sum{};
    for (int c = 0; c < 2 * p.m; c++) {
      const RowFour du = u[c];
      const float weight = s.we[int64_t(c) * p.stride + j];
      for (int r = 0; r < kScoreRows; r++) sum.of[r] = fmaf(weight, du.of[r], sum.of[r]);
    }
    for (int r = 0; r < kScoreRows; r++)
      if (w * kScoreRows + r < rows) dedge[int64_t(w * kScoreRows + r) * p.width + j] += sum.of[r];
  }
}

/// Adds the block's rows to its sums: dWe (2m, D) by tiles of four columns by four features, S = sum of dy h, and that of dy.
__device__ void add_to_sums(const ScoreProblem& p, const ScorePlace& s, float* sums) {
  constexpr int kTile = 4;
  const int warps = int(blockDim.x) / kWarp, m2 = 2 * p.m, columns = (m2 + kTile - 1) / kTile, features = (p.width + kTile - 1) / kTile;
  for (int t = int(threadIdx.x); t < columns * features; t += int(blockDim.x)) {
    const int c = t / features, j = t % features;
    float sum[kTile][kTile] = {};
    for (int w = 0; w < warps; w++) {
      const RowFour *e = s.groups + w * p.group, *u = e + p.width;
      RowFour left[kTile], right[kTile];
      for (int i = 0; i < kTile; i++) left[i] = u[min(c + i * columns, m2 - 1)], right[i] = e[min(j + i * features, p.width - 1)];
      for (int a = 0; a < kTile; a++)
        for (int b = 0; b < kTile; b++)
          for (int r = 0; r < kScoreRows; r++) sum[a][b] = fmaf(left[a].of[r], right[b].of[r], sum[a][b]);
    }
    for (int a = 0; a < kTile; a++)
      for (int b = 0; b < kTile; b++)
        if (c + a * columns < m2 && j + b * features < p.width) sums[(c + a * columns) * p.width + j + b * features] += sum[a][b];
  }
  for (int c = int(threadIdx.x); c <= p.m; c += int(blockDim.x)) {
    float sum = 0;
    for (int w = 0; w < warps; w++) {
      const RowFour *h = s.groups + w * p.group + p.width + m2, dy = h[p.m];
      for (int r = 0; r < kScoreRows; r++) sum += c < p.m ? dy.of[r] * h[c].of[r] : dy.of[r];
    }
    sums[m2 * p.width + c] += sum;
  }
}

// A block takes a spot after another: query, gene and edge of its own edges; partial (blocks, 2m D + m + 1) the sums of add_to_sums().
__global__ void __launch_bounds__(kScoreWarps* kWarp, 2)
    own_kernel(ScoreProblem p, const float* __restrict__ dy, float* __restrict__ partial, float* __restrict__ dquery,
               float* __restrict__ dgene, float* __restrict__ dedge) {
  const ScorePlace s = score_place(p);
  const int warp = int(threadIdx.x) / kWarp, of_block = int(blockDim.x) / kWarp * kScoreRows, rows = p.k * p.heads;
  const int64_t m2 = 2 * p.m, numbers = m2 * p.width + p.m + 1;
  partial += blockIdx.x * numbers;
  float* sums = p.keeps ? s.rest : partial;
  for (int64_t i = threadIdx.x; i < numbers; i += blockDim.x) sums[i] = 0;
  for (int spot = int(blockIdx.x); spot < p.n; spot += int(gridDim.x))
    for (int first = 0; first < rows; first += of_block) {
      ScoreRow row[kScoreRows];
      for (int r = 0; r < kScoreRows; r++) row[r] = own_row(p, spot, first + warp * kScoreRows + r);
      hidden_gradient(p, s, row, dy);
      __syncthreads();
      add_to_spot(p, s, first % p.heads, -1, dquery ? dquery + spot * p.heads * m2 : nullptr, dgene ? dgene + spot * m2 : nullptr);
      if (dedge) add_to_edges(p, s, rows - first, dedge + (int64_t(spot) * rows + first) * p.width);
      add_to_sums(p, s, sums);
      __syncthreads();
    }
  for (int64_t i = threadIdx.x; p.keeps && i < numbers; i += blockDim.x) partial[i] = sums[i];
}

// A block takes a spot after another: key and gene of the edges that point to it, in list order.
__global__ void __launch_bounds__(kScoreWarps* kWarp, 3)
    incoming_kernel(ScoreProblem p, const float* __restrict__ dy, float* __restrict__ dkey, float* __restrict__ dgene) {
  const ScorePlace s = score_place(p);
  const int warp = int(threadIdx.x) / kWarp, of_block = int(blockDim.x) / kWarp * kScoreRows;
  const int64_t m2 = 2 * p.m;
  for (int spot = int(blockIdx.x); spot < p.n; spot += int(gridDim.x)) {
    const int begin = p.reverse_start[spot], rows = (p.reverse_start[spot + 1] - begin) * p.heads;
    for (int first = 0; first < rows; first += of_block) {
      ScoreRow row[kScoreRows];
      for (int r = 0; r < kScoreRows; r++)
        if (const int number = first + warp * kScoreRows + r; number < rows) {
          const int edge = p.reverse[begin + number / p.heads];
          row[r] = {edge / p.k, spot, edge, number % p.heads};
        }
      hidden_gradient(p, s, row, dy);
      __syncthreads();
      add_to_spot(p, s, first % p.heads, 1, dkey ? dkey + spot * p.heads * m2 : nullptr, dgene ? dgene + spot * m2 : nullptr);
      __syncthreads();
    }
  }
}

// The gradients of norm and fc2 from S = sum of dy n and s = sum of dy.
__global__ void parameters_kernel(ScoreProblem p, const float* __restrict__ partial, int64_t stride, int64_t pieces, float* dnorm_weight,
                                  float* dnorm_bias, float* dfc2_weight, float* dfc2_bias) {
  const int c = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (c > p.m) return;
  const float S = sum_in_order(pieces, [&](int64_t i) { return partial[i * stride + c]; });
  const float total = sum_in_order(pieces, [&](int64_t i) { return partial[i * stride + p.m]; });
  if (c == p.m) {
    if (dfc2_bias) *dfc2_bias += total;
    return;
  }
  if (dnorm_weight) dnorm_weight[c] += p.fc2_weight[c] * S;
  if (dnorm_bias) dnorm_bias[c] += p.fc2_weight[c] * total;
  if (dfc2_weight) dfc2_weight[c] += p.norm_weight[c] * S + p.norm_bias[c] * total;
}

}  // namespace

template <> void edge_score_backward(Cuda on, const EdgeScore& a, Tensor dy, const EdgeScoreGrads& d, void* scratch) {
  const ScoreProblem p(a);
  auto* partial = static_cast<float*>(scratch);
  const int64_t weight = a.edge_weight.size(), numbers = a.cuda_partial();
  const Launch own = p.over_spots(on, a.cuda_pieces(), numbers);
  launch("edge_score_own", own_kernel, own, p, dy.as<float>(), partial, d.query.as<float>(), d.gene.as<float>(), d.edge.as<float>());
  if (d.key.data || d.gene.data)
    launch("edge_score_incoming", incoming_kernel, p.over_spots(on, 4 * kCudaScorePieces, 0), p, dy.as<float>(), d.key.as<float>(),
           d.gene.as<float>());
  if (d.edge_weight.data)
    launch("add_partial_sums", add_partial_sums, {blocks_for(weight, 256), 256, 0, stream_of(on)}, partial, numbers, own.grid.x, weight,
           d.edge_weight.as<float>());
  launch("edge_score_parameters", parameters_kernel, {blocks_for(p.m + 1, 128), 128, 0, stream_of(on)}, p, partial + weight, numbers,
         own.grid.x, d.norm_weight.as<float>(), d.norm_bias.as<float>(), d.fc2_weight.as<float>(), d.fc2_bias.as<float>());
}

}  // namespace stflow
