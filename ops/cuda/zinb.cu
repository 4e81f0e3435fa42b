// A thread per draw. Floor at 10,000 spots x 50 genes on an H100 (3.0 TB/s): reads 40 kB of ranks and writes 2 MB, 0.7 us; what it takes is
// the float64 arithmetic of a draw, some 500 operations and one to three Philox blocks, of which the lanes of a warp need different
// numbers.
#include "engine/cuda/cuda.h"
#include "ops/zinb.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 256;

/// What every draw reads.
struct Tables {
  const Zinb* genes;  // one for all, or one per column
  const int32_t* rank;
  const double *mean, *sd;
  bool one, log1p;
  const KeyPlace* now;
};

__global__ void sample_kernel(Tables tables, RandomKey key, float* __restrict__ out, int64_t n, int64_t columns) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t g = i % columns;
  const double x = ZinbDraw(key.at(tables.now), uint32_t(tables.rank[i / columns]), uint32_t(g))(tables.genes[tables.one ? 0 : g]);
  out[i] = stored_draw<float>(x, tables.log1p, tables.mean, tables.sd, g);
}

}  // namespace

void zinb_draws(Cuda on, const Tensor& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& mean, const Tensor& sd,
                const Tensor& out, const KeyPlace* now) {
  const Tables tables{genes.as<Zinb>(), rank.as<int32_t>(), mean.as<double>(), sd.as<double>(), genes.shape[0] == 1, log1p, now};
  launch("sample_zinb", sample_kernel, {blocks_for(out.size(), kThreads), kThreads, 0, stream_of(on)}, tables, key, out.as<float>(),
         out.size(), out.cols());
}

}  // namespace stflow
