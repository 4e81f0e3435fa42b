// At 10,000 spots with 8 neighbours on an H100 (3.0 TB/s): reads coordinates and ranks, writes lists, distances and reverse lists, 1.5 MB,
// 0.5 us; ten launches cost more, once per slide. One thread searches for one spot: on a slide without
// gaps it looks at some 20 to 50 spots twice for each group of ties, so O(n). With m spots in a cell (many in one place, tight clusters far
// apart) it is O(n m): right all the same, as only the bounds of a search depend on the cells.
// Spots come into their cells, and edges into their first lists, in any order; what is read from them are minima, maxima and ranks.
#include "engine/cuda/cuda.h"
#include "ops/cuda/cell_grid.h"
#include "ops/knn.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kBlock = 512;  // threads of a kernel that is one block

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void cell_kernel(CellGrid grid, const Point* __restrict__ at, int64_t n, int* __restrict__ cell) {
  const int64_t i = element();
  if (i < n) cell[i] = grid.row(at[i].y) * grid.columns + grid.column(at[i].x);
}

__global__ void count_kernel(const int* __restrict__ key, int64_t n, int* start) {
  const int64_t i = element();
  if (i < n) count_up(&start[key[i] + 1]);
}

// One block: count[i] becomes the sum of those before it. A thread takes a piece.
__global__ void sum_kernel(int* __restrict__ count, int64_t n) {
  int* of_warp = shared_array<int, kBlock / kWarp, class WarpSums>();
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int64_t piece = (n + kBlock - 1) / kBlock, begin = min(threadIdx.x * piece, n), end = min(begin + piece, n);
  int own = 0;
  for (int64_t i = begin; i < end; i++) own += count[i];
  int before = own;  // of the warp's threads up to this one
  for (int by = 1; by < kWarp; by *= 2) {
    const int other = __shfl_up_sync(kAllLanes, before, by);
    if (lane >= by) before += other;
  }
  if (lane == kWarp - 1) of_warp[warp] = before;
  __syncthreads();
  before -= own;
  for (int w = 0; w < warp; w++) before += of_warp[w];
  for (int64_t i = begin; i < end; i++) {
    const int next = before + count[i];
    count[i] = before, before = next;
  }
}

__global__ void place_kernel(const int* __restrict__ key, int64_t n, int* start, int* __restrict__ items) {
  const int64_t i = element();
  if (i < n) items[count_up(&start[key[i] + 1])] = int(i);
}

// Sorts 0 .. n - 1 by key: items[start[b] .. start[b + 1]) are those with key b, in any order. start has one place more than there are
// keys.
void sort_by_key(Cuda on, const int* key, int64_t n, int64_t keys, int* start, int* items) {
  fill(Device::cuda, start, 0, size_t(keys + 1) * sizeof(int), on.stream);
  const Launch each{blocks_for(n, kThreads), kThreads, 0, stream_of(on)};
  // start[b + 1] counts, then is the place of the next item of b, at last the end of b.
  launch("knn_count", count_kernel, each, key, n, start);
  launch("knn_sum", sum_kernel, {1, kBlock, 0, stream_of(on)}, start + 1, keys);
  launch("knn_place", place_kernel, each, key, n, start, items);
}

// The spots in their cells; pointers into device memory.
struct Cells {
  CellGrid grid;
  const Point* at;
  const int *start, *spots;

  // Calls visit(j, d2) for the other spots around i, ring after ring of cells, until enough(reach): every spot left has d2 >= reach.
  template <class Visit, class Enough> __device__ void around(int i, Visit visit, Enough enough) const {
    const Point here = at[i];
    const int cx = grid.column(here.x), cy = grid.row(here.y);
    // The spots of neighbouring cells of a row lie side by side.
    auto row = [&](int y, int first, int last) {
      first = max(first, 0), last = min(last, grid.columns - 1);
      if (y < 0 || y >= grid.rows || first > last) return;
      const int* s = start + int64_t(y) * grid.columns;
      for (int p = s[first]; p < s[last + 1]; p++) {
        const int j = spots[p];
        const double dx = at[j].x - here.x, dy = at[j].y - here.y;
        if (j != i) visit(j, dx * dx + dy * dy);
      }
    };
    const int rings = max(max(cx, grid.columns - 1 - cx), max(cy, grid.rows - 1 - cy));
    for (int r = 0; r <= rings; r++) {
      const double gap = (r - 1) * (1 - 1e-6) * grid.side;  // to ring r at least, whatever the rounding of cells
      if (r > 1 && enough(gap * gap)) return;
      row(cy - r, cx - r, cx + r);
      for (int y = max(cy - r + 1, 0); y < min(cy + r, grid.rows); y++) row(y, cx - r, cx - r), row(y, cx + r, cx + r);
      if (r > 0) row(cy + r, cx - r, cx + r);
    }
  }
};

// The definition in ops/knn.h, group by group: find where a group of ties ends and the next begins, then take its first ranks.
__global__ void search_kernel(Cells cells, const int* __restrict__ rank, int64_t n, int k, int* idx, double* distance) {
  if (element() >= n) return;
  const int i = cells.spots[element()];  // spots of one cell side by side: their threads read the same cells
  int* to = idx + int64_t(i) * k;
  double* length = distance + int64_t(i) * k;
  double low = 0, high = -1, next = 0;
  for (int filled = 0, found = 0; filled < k; filled = found) {
    // The smallest d2 above `high`. The group goes on while that is tied to `high`: to `chained` at least.
    double chained = high;
    do {
      high = chained, next = INFINITY;
      cells.around(
          i,
          [&](int, double d2) {
            if (d2 > high) next = fmin(next, d2);
            if (d2 > high && d2 - high <= kTieTolerance * d2) chained = fmax(chained, d2);
          },
          [&](double reach) { return reach > next; });
    } while (chained > high);
    if (low <= high)  // false at the start
      cells.around(
          i,
          [&](int j, double d2) {
            if (d2 < low || d2 > high || (found == k && rank[j] > rank[to[k - 1]])) return;
            int p = found < k ? found++ : k - 1;
            for (; p > filled && rank[to[p - 1]] > rank[j]; p--) to[p] = to[p - 1], length[p] = length[p - 1];
            to[p] = j, length[p] = sqrt(d2);
          },
          [&](double reach) { return reach > high; });
    low = high = next;
  }
}

// One thread an edge: its place in its list is the number of edges that come before it.
__global__ void reverse_kernel(const int* __restrict__ idx, const int* __restrict__ rank, const int* __restrict__ start,
                               const int* __restrict__ edges, int64_t count, int k, int* __restrict__ reverse) {
  if (element() >= count) return;
  const int e = edges[element()], j = idx[e], source = e / k;
  int place = start[j];
  for (int p = start[j]; p < start[j + 1]; p++) {
    const int other = edges[p] / k;
    place += other == source ? edges[p] < e : rank[other] < rank[source];
  }
  reverse[place] = e;
}

__global__ void nearest_kernel(const double* __restrict__ distance, int64_t n, int k, double* __restrict__ nearest) {
  const int64_t i = element();
  if (i < n) nearest[i] = nearest_elsewhere(distance + i * k, k);
}

// One thread a new spot.
__global__ void pad_kernel(int64_t n, int64_t spots, int k, int* idx, double* distance, int* reverse_start) {
  const int64_t i = n + element();
  if (i >= spots) return;
  for (int64_t e = 0; e < k; e++) idx[i * k + e] = idx[(n - 1) * k + e], distance[i * k + e] = distance[(n - 1) * k + e];
  reverse_start[i + 1] = int(n * k);
}

}  // namespace

void find_nearest(Cuda on, const Graph& graph, double* nearest) {
  launch("knn_nearest", nearest_kernel, {blocks_for(graph.n, kThreads), kThreads, 0, stream_of(on)}, graph.distance.as<double>(), graph.n,
         graph.k, nearest);
}

void search_cells(Cuda on, const CellGrid& grid, const Spots& there, Graph& graph) {
  const int64_t n = graph.n;
  graph.scratch.reserve(size_t(2 * n + CellGrid::most_cells(n) + 1) * sizeof(int));
  auto *cell = static_cast<int*>(graph.scratch.data()), *spots = cell + n, *start = spots + n;
  const auto* at = there.coords.as<const Point>();
  const Launch each{blocks_for(n, kThreads), kThreads, 0, stream_of(on)};
  launch("knn_cell", cell_kernel, each, grid, at, n, cell);
  sort_by_key(on, cell, n, grid.cells(), start, spots);
  launch("knn_search", search_kernel, each, Cells{grid, at, start, spots}, there.rank.as<int32_t>(), n, graph.k, graph.idx.as<int32_t>(),
         graph.distance.as<double>());
}

void pad_graph(Cuda on, Graph& graph, int64_t spots) {
  const int64_t n = graph.n;
  const void* before = graph.idx.data;
  graph.resize(spots, graph.k);
  check(n > 0 && spots >= n && graph.idx.data == before, "knn: {} spots for {}, expected more, and memory for them", spots, n);
  launch("knn_pad", pad_kernel, {blocks_for(spots - n, kThreads), kThreads, 0, stream_of(on)}, n, spots, graph.k, graph.idx.as<int32_t>(),
         graph.distance.as<double>(), graph.reverse_start.as<int32_t>());
}

void build_reverse(Cuda on, const Tensor& rank, Graph& graph) {
  const int64_t count = graph.n * graph.k;
  graph.scratch.reserve(size_t(count) * sizeof(int));
  auto *edges = static_cast<int*>(graph.scratch.data()), *start = graph.reverse_start.as<int32_t>();
  sort_by_key(on, graph.idx.as<int32_t>(), count, graph.n, start, edges);
  launch("knn_reverse", reverse_kernel, {blocks_for(count, kThreads), kThreads, 0, stream_of(on)}, graph.idx.as<int32_t>(),
         rank.as<int32_t>(), start, edges, count, graph.k, graph.reverse.as<int32_t>());
}

}  // namespace stflow
