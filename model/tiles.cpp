#include "model/tiles.h"

#include <algorithm>
#include <numeric>

namespace stflow {

Tiles::Tiles(const Tensor& coords, const Graph& graph, int64_t hops)
    : coords_(coords.as<double>()), graph_(graph), hops_(hops), order_(size_t(graph.n)), seen_(size_t(graph.n), 0) {
  check(coords.shape == Shape{graph.n, 2} && coords.type == DType::f64 && graph.device() == Device::cpu && hops >= 1,
        "tiles: coordinates {} of {} spots, {} hops", coords.shape.text(), graph.n, hops);
  std::iota(order_.begin(), order_.end(), 0);
}

bool Tiles::fill(Range r, int64_t most, Tile& tile) {
  const bool last = r.end - r.begin <= 1;
  tile.spots.assign(order_.begin() + r.begin, order_.begin() + r.end);
  tile.own = r.end - r.begin, tile.inner = 0;
  if (tile.whole(graph_.n)) {
    tile.inner = tile.own;
    return last || tile.own <= most;
  }
  number_++;
  for (const int32_t i : tile.spots) seen_[size_t(i)] = number_;
  const auto* to = graph_.idx.as<int32_t>();
  for (int64_t hop = 0; hop < hops_; hop++) {
    const int64_t first = tile.inner;
    tile.inner = tile.size();
    for (int64_t s = first; s < tile.inner; s++)
      for (int64_t e = int64_t(tile.spots[size_t(s)]) * graph_.k, end = e + graph_.k; e < end; e++)
        if (seen_[size_t(to[e])] != number_) seen_[size_t(to[e])] = number_, tile.spots.push_back(to[e]);
    if (!last && tile.size() > most) return false;
    if (tile.size() == tile.inner) break;  // nobody new: the tile is closed
  }
  return true;
}

int64_t Tiles::split(Range r) {
  double low[2], high[2];
  for (int axis = 0; axis < 2; axis++) {
    const auto at = [&](int32_t a, int32_t b) { return coords_[2 * a + axis] < coords_[2 * b + axis]; };
    const auto [lo, hi] = std::minmax_element(order_.begin() + r.begin, order_.begin() + r.end, at);
    low[axis] = coords_[2 * *lo + axis], high[axis] = coords_[2 * *hi + axis];
  }
  const int axis = high[0] - low[0] >= high[1] - low[1] ? 0 : 1;
  const int64_t middle = (r.begin + r.end) / 2;
  // Spots of one place are told apart by their row, so that any heap of them can be halved.
  std::nth_element(order_.begin() + r.begin, order_.begin() + middle, order_.begin() + r.end, [&](int32_t a, int32_t b) {
    return coords_[2 * a + axis] != coords_[2 * b + axis] ? coords_[2 * a + axis] < coords_[2 * b + axis] : a < b;
  });
  return middle;
}

void cut_graph(const Graph& whole, const Tile& tile, std::vector<int32_t>& local, Graph& part) {
  part.resize(tile.size(), whole.k);
  local.resize(size_t(whole.n));
  for (int64_t s = 0; s < tile.size(); s++) local[size_t(tile.spots[size_t(s)])] = int32_t(s);
  const auto* to = whole.idx.as<int32_t>();
  const auto* far = whole.distance.as<double>();
  auto* idx = part.idx.as<int32_t>();
  auto* distance = part.distance.as<double>();
  for (int64_t s = 0, k = whole.k; s < tile.size(); s++)
    for (int64_t slot = 0; slot < k; slot++) {
      const bool known = s < tile.inner;
      const int64_t e = int64_t(tile.spots[size_t(s)]) * k + slot;
      idx[s * k + slot] = known ? local[size_t(to[e])] : int32_t(s);
      distance[s * k + slot] = known ? far[e] : 0;
    }
}

}  // namespace stflow
