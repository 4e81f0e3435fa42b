// Floor at 10,000 spots, 8 neighbours, 4 heads on an H100 (3.0 TB/s), values and edges 128 wide: forward reads score (1.3 MB), value
// (5.1 MB, its gathers fit L2) and edge (41 MB) and writes y (10.2 MB), 19 us; backward reads edge, value and dy (twice) and adds into
// dedge and dvalue, 165 MB, 55 us.
#include "ops/neighbor_mix.h"

#include "ops/cuda/dropout_mask.h"
#include "ops/cuda/reduce.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;

// Widths of one head; pointers into device memory.
struct Problem {
  int64_t n, k, heads, values, edges;
  const float *score, *value, *edge;
  const int32_t *idx, *reverse_start, *reverse;
  DropoutMask mask;

  explicit Problem(const NeighborMix& a)
      : n(a.graph->n),
        k(a.graph->k),
        heads(a.heads()),
        values(a.value.cols() / heads),
        edges(a.edge.cols() / heads),
        score(a.score.as<float>()),
        value(a.value.as<float>()),
        edge(a.edge.as<float>()),
        idx(a.graph->idx.as<int32_t>()),
        reverse_start(a.graph->reverse_start.as<int32_t>()),
        reverse(a.graph->reverse.as<int32_t>()),
        mask(a.dropout) {}
  [[nodiscard]] size_t shared() const { return size_t(k * heads) * sizeof(float); }
};

// One block a spot: its weights in shared memory, then one thread an output column.
__global__ void forward_kernel(Problem p, float* __restrict__ weights, float* __restrict__ kept, float* __restrict__ y) {
  float* a = dynamic_shared<float>();
  const int64_t i = blockIdx.x, slots = p.k * p.heads, wide = p.heads * p.values, edge_wide = p.heads * p.edges;
  for (int64_t h = threadIdx.x; h < p.heads; h += blockDim.x) {
    const float* x = p.score + i * slots + h;
    float top = -INFINITY, total = 0;
    for (int64_t j = 0; j < p.k; j++) top = fmaxf(top, x[j * p.heads]);
    for (int64_t j = 0; j < p.k; j++) total += a[j * p.heads + h] = expf(x[j * p.heads] - top);
    for (int64_t j = 0; j < p.k; j++) a[j * p.heads + h] /= total;
  }
  __syncthreads();
  for (int64_t s = threadIdx.x; s < slots; s += blockDim.x) {
    if (weights) weights[i * slots + s] = a[s];
    a[s] *= p.mask(i * slots + s);
    if (kept) kept[i * slots + s] = a[s];
  }
  __syncthreads();
  for (int64_t c = threadIdx.x; c < wide + edge_wide; c += blockDim.x) {
    const bool of_edge = c >= wide;
    const int64_t at = of_edge ? c - wide : c, h = at / (of_edge ? p.edges : p.values);
    float sum = 0;
    for (int64_t j = 0; j < p.k; j++)
      sum += a[j * p.heads + h] * (of_edge ? p.edge[(i * p.k + j) * edge_wide + at] : p.value[p.idx[i * p.k + j] * wide + at]);
    y[i * (wide + edge_wide) + c] = sum;
  }
}

// One block a spot, one warp a (neighbour, head): da = dropout(dy . [value | edge]), and the edge's gradient on the way.
__global__ void spot_kernel(Problem p, const float* __restrict__ weights, const float* __restrict__ kept, const float* __restrict__ dy,
                            float* __restrict__ dscore, float* __restrict__ dedge) {
  float* da = dynamic_shared<float>();
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp, warps = int(blockDim.x) / kWarp;
  const int64_t i = blockIdx.x, slots = p.k * p.heads, wide = p.heads * p.values, row = wide + p.heads * p.edges;
  for (int64_t s = warp; s < slots; s += warps) {
    const int64_t h = s % p.heads, spot = p.idx[i * p.k + s / p.heads];
    const float *v = p.value + spot * wide + h * p.values, *d = dy + i * row + h * p.values;
    const float *e = p.edge + (i * slots + s) * p.edges, *d_edge = dy + i * row + wide + h * p.edges;
    const float weight = kept[i * slots + s];
    float dot = 0;
    for (int64_t c = lane; c < p.values; c += kWarp) dot += v[c] * d[c];
    for (int64_t c = lane; c < p.edges; c += kWarp) {
      dot += e[c] * d_edge[c];
      if (dedge) dedge[(i * slots + s) * p.edges + c] += weight * d_edge[c];
    }
    dot = warp_sum(dot);
    if (lane == 0) da[s] = dot * p.mask(i * slots + s);
  }
  __syncthreads();
  // In float64 and for weights that sum to 1 exactly, as on the CPU.
  for (int64_t h = threadIdx.x; dscore && h < p.heads; h += blockDim.x) {
    const float* a = weights + i * slots;
    double total = 0, sum = 0;
    for (int64_t s = h; s < slots; s += p.heads) total += double(a[s]) * double(da[s]), sum += double(a[s]);
    for (int64_t s = h; s < slots; s += p.heads) dscore[i * slots + s] += float(double(a[s]) * (double(da[s]) - total / sum));
  }
}

// One block a target spot, one thread a column: the edges that point to it, in list order.
__global__ void value_kernel(Problem p, const float* __restrict__ kept, const float* __restrict__ dy, float* __restrict__ dvalue) {
  const int64_t i = blockIdx.x, wide = p.heads * p.values, row = wide + p.heads * p.edges;
  const int32_t begin = p.reverse_start[i], end = p.reverse_start[i + 1];
  for (int64_t c = threadIdx.x; c < wide; c += blockDim.x) {
    float sum = dvalue[i * wide + c];
    for (int32_t r = begin; r < end; r++) {
      const int64_t e = p.reverse[r];
      sum += kept[e * p.heads + c / p.values] * dy[e / p.k * row + c];
    }
    dvalue[i * wide + c] = sum;
  }
}

}  // namespace

template <> void neighbor_mix_forward(Cuda on, const NeighborMix& a, Tensor weights, Tensor kept, Tensor y) {
  const Problem p(a);
  launch("neighbor_mix_forward", forward_kernel, {unsigned(p.n), kThreads, p.shared(), stream_of(on)}, p, weights.as<float>(),
         kept.as<float>(), y.as<float>());
}

template <>
void neighbor_mix_backward(Cuda on, const NeighborMix& a, Tensor weights, Tensor kept, Tensor dy, Tensor dscore, Tensor dvalue,
                           Tensor dedge) {
  const Problem p(a);
  if (dscore.data || dedge.data)
    launch("neighbor_mix_spot", spot_kernel, {unsigned(p.n), kThreads, p.shared(), stream_of(on)}, p, weights.as<float>(), kept.as<float>(),
           dy.as<float>(), dscore.as<float>(), dedge.as<float>());
  if (dvalue.data)
    launch("neighbor_mix_value", value_kernel, {unsigned(p.n), kThreads, 0, stream_of(on)}, p, kept.as<float>(), dy.as<float>(),
           dvalue.as<float>());
}

}  // namespace stflow
