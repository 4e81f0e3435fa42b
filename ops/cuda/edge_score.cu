// Floor at 10,000 spots, 8 neighbours, 4 heads, D = 32, 2m = 128 on an H100 (3.0 TB/s, 60 TFLOP/s in float32): reads query and key (20 MB
// each, their gathers fit the second cache), gene (5 MB) and edge (41 MB) and writes the scores: 88 MB, 30 us; 2.6 GFLOP, 44 us, and 20
// million exponentials.
#include "ops/cuda/edge_score.h"

namespace stflow {
namespace {

__global__ void __launch_bounds__(kScoreWarps* kWarp, 2) forward_kernel(ScoreProblem p, float* __restrict__ y) {
  const ScorePlace s = score_place(p);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp, of_block = int(blockDim.x) / kWarp * kScoreRows;
  for (int spot = int(blockIdx.x); spot < p.n; spot += int(gridDim.x))
    for (int first = warp * kScoreRows; first < p.k * p.heads; first += of_block) {
      ScoreRow row[kScoreRows];
      for (int r = 0; r < kScoreRows; r++) row[r] = own_row(p, spot, first + r);
      score_hidden(p, s, row);
      for (int r = 0; r < kScoreRows; r++) {
        float dot = 0;
        for (int c = lane; c < p.m; c += kWarp) dot = fmaf(fmaf(s.h[c].of[r], p.norm_weight[c], p.norm_bias[c]), p.fc2_weight[c], dot);
        dot = warp_sum(dot);
        if (lane == 0 && row[r].edge >= 0) y[int64_t(row[r].edge) * p.heads + row[r].head] = dot + *p.fc2_bias;
      }
      __syncwarp();  // s.e is overwritten next
    }
}

}  // namespace

template <> void edge_score_forward(Cuda on, const EdgeScore& a, Tensor y) {
  const ScoreProblem p(a);
  launch("edge_score_forward", forward_kernel, p.over_spots(on, 4 * kCudaScorePieces, 0), p, y.as<float>());
}

}  // namespace stflow
