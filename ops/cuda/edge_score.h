// What edge_score's kernels share: rows (spot, slot, head), four of them a warp, so that a number that is read from shared memory serves
// four multiply-adds.
#pragma once
#include "ops/cuda/dropout_mask.h"
#include "ops/cuda/reduce.h"
#include "ops/edge_score.h"

namespace stflow {

inline constexpr float kScoreEps = 1e-5f;
inline constexpr int kScoreRows = 4;                // rows (spot, slot, head) of a warp at a time
inline constexpr unsigned kScoreWarps = 8;          // of a block, fewer where their rows do not fit
inline constexpr size_t kScoreShared = 160 * 1024;  // bytes of a block's shared memory on sm_80
/// Numbers of We up to which it is kept in shared memory; a larger one is read through the caches.
inline constexpr int64_t kKeptWeight = 16 * 1024;

/// A number for each of a warp's rows; one load.
struct alignas(16) RowFour {
  float of[kScoreRows];
};

struct ScoreProblem {
  int n, k, heads, m, width;
  bool keeps;         // We and the sums of its gradient lie in shared memory
  int stride, group;  // of We's rows as they are read: odd, so that a warp may walk along either side; Fours of a warp
  const float *query, *key, *gene, *edge, *we, *norm_weight, *norm_bias, *fc2_weight, *fc2_bias;
  const int32_t *idx, *reverse_start, *reverse;
  DropoutMask mask;

  explicit ScoreProblem(const EdgeScore& a)
      : n(int(a.graph->n)),
        k(a.graph->k),
        heads(int(a.heads())),
        m(int(a.half())),
        width(int(a.width())),
        keeps(int64_t(2) * m * width <= kKeptWeight),
        stride(keeps ? width | 1 : width),
        group(width + 3 * m + 1),
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
  /// A launch over spots, with the sums of a piece or without.
  [[nodiscard]] Launch over_spots(Cuda on, int64_t most, int64_t sums) const {
    auto bytes = [&](unsigned warps) {
      return warps * size_t(group) * sizeof(RowFour) + (keeps ? size_t(2 * m * stride + sums) : 0) * sizeof(float);
    };
    unsigned warps = kScoreWarps;
    while (warps > 1 && bytes(warps) > kScoreShared) warps /= 2;
    return {unsigned(min(int64_t(n), most)), warps * kWarp, bytes(warps), stream_of(on)};
  }
};

/// One edge's part of one head; edge < 0: none.
struct ScoreRow {
  int source = 0, target = 0, edge = -1, head = 0;
};

/// A warp's rows in shared memory: e (width), the hidden layer (2m), its normalised gate (m), dy. `groups`: the first warp's.
struct ScorePlace {
  RowFour *groups, *e, *u, *h, *dy;
  const float* we;
  float* rest;
};

__device__ inline ScorePlace score_place(const ScoreProblem& p) {
  RowFour* groups = dynamic_shared<RowFour>();
  RowFour* e = groups + int(threadIdx.x) / kWarp * p.group;
  float* at = reinterpret_cast<float*>(groups + int(blockDim.x) / kWarp * p.group);
  if (!p.keeps) return {groups, e, e + p.width, e + p.width + 2 * p.m, e + p.width + 3 * p.m, p.we, at};
  for (int i = int(threadIdx.x); i < 2 * p.m * p.width; i += int(blockDim.x)) at[i / p.width * p.stride + i % p.width] = p.we[i];
  __syncthreads();
  return {groups, e, e + p.width, e + p.width + 2 * p.m, e + p.width + 3 * p.m, at, at + 2 * p.m * p.stride};
}

/// h of the rows, normalised, and into u by what a gradient of h is multiplied to be one of the hidden layer; returns 1 / deviation of h.
/// Rows that are none give zeros. Reached by all lanes; lane l owns the columns l, l + 32, ... of both halves.
__device__ inline RowFour score_hidden(const ScoreProblem& p, const ScorePlace& s, const ScoreRow (&row)[kScoreRows]) {
  const int lane = int(threadIdx.x) % kWarp, m = p.m;
  for (int r = 0; r < kScoreRows; r++)
    for (int j = lane; j < p.width; j += kWarp)
      s.e[j].of[r] = row[r].edge >= 0 ? p.edge[(int64_t(row[r].edge) * p.heads + row[r].head) * p.width + j] : 0;
  __syncwarp();
  RowFour mean{}, squares{};
  for (int c = lane; c < m; c += kWarp) {
    RowFour u1{}, u2{}, h{};
    const float *w1 = s.we + int64_t(c) * p.stride, *w2 = s.we + int64_t(m + c) * p.stride;
    for (int j = 0; j < p.width; j++) {
      const RowFour e = s.e[j];
      for (int r = 0; r < kScoreRows; r++) u1.of[r] = fmaf(w1[j], e.of[r], u1.of[r]), u2.of[r] = fmaf(w2[j], e.of[r], u2.of[r]);
    }
    for (int r = 0; r < kScoreRows; r++) {
      const ScoreRow& x = row[r];
      if (x.edge >= 0) {
        const float* q = p.query + (int64_t(x.source) * p.heads + x.head) * 2 * m;
        const float* k = p.key + (int64_t(x.target) * p.heads + x.head) * 2 * m;
        const float *from = p.gene + int64_t(x.source) * 2 * m, *to = p.gene + int64_t(x.target) * 2 * m;
        u1.of[r] += q[c] + k[c] + (to[c] - from[c]), u2.of[r] += q[m + c] + k[m + c] + (to[m + c] - from[m + c]);
        const float sigmoid = 1 / (1 + expf(-u1.of[r])), value = u1.of[r] * sigmoid;
        const float keep = p.mask((int64_t(x.edge) * p.heads + x.head) * m + c);
        h.of[r] = value * u2.of[r] * keep;
        u1.of[r] = keep * u2.of[r] * (sigmoid + value - value * sigmoid), u2.of[r] = keep * value;
      }
      mean.of[r] += h.of[r];
    }
    s.u[c] = u1, s.u[m + c] = u2, s.h[c] = h;
  }
  for (float& v : mean.of) v = warp_sum(v) / float(m);
  for (int c = lane; c < m; c += kWarp)
    for (int r = 0; r < kScoreRows; r++) squares.of[r] = fmaf(s.h[c].of[r] - mean.of[r], s.h[c].of[r] - mean.of[r], squares.of[r]);
  RowFour scale;
  for (int r = 0; r < kScoreRows; r++) scale.of[r] = 1 / sqrtf(warp_sum(squares.of[r]) / float(m) + kScoreEps);
  for (int c = lane; c < m; c += kWarp)
    for (int r = 0; r < kScoreRows; r++) s.h[c].of[r] = (s.h[c].of[r] - mean.of[r]) * scale.of[r];
  return scale;
}

__device__ inline ScoreRow own_row(const ScoreProblem& p, int spot, int number) {
  if (number >= p.k * p.heads) return {};
  const int edge = spot * p.k + number / p.heads;
  return {spot, p.idx[edge], edge, number % p.heads};
}

}  // namespace stflow
