#include "model/geometry.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/op.h"
#include "ops/knn.h"

namespace stflow {

void Geometry::build(const Tensor& coords, const Tensor& rank, const GeometryConfig& config, DType type, double unit, int64_t rows) {
  auto length = [&](auto median) { return !config.scale_free ? 1 : unit > 0 ? unit : median(); };
  if (context_.device == Device::cpu) {
    build_knn(coords, rank, config.neighbors, graph_);
    unit_ = length([&] { return median_neighbour_distance(graph_); });
    return average_frames(coords, graph_, config.frames, unit_, type, frames_);
  }
  const Cuda on{context_.stream};
  const int64_t n = coords.shape[0], all = std::max(n, rows);
  const size_t place = 2 * sizeof(double), ranks_at = aligned(size_t(all) * place), bytes = ranks_at + rank.bytes();
  auto* here = static_cast<char*>(upload_.room(bytes));
  std::memcpy(here, coords.data, coords.bytes()), std::memcpy(here + ranks_at, rank.data, rank.bytes());
  for (int64_t i = n; i < all; i++) std::memcpy(here + size_t(i) * place, here + size_t(n - 1) * place, place);
  input_.reserve(bytes);
  upload_.send(input_.data(), bytes, on.stream);
  Spots there{coords, rank};
  there.coords.data = input_.data(), there.rank.data = static_cast<char*>(input_.data()) + ranks_at;
  if (all > n) graph_.resize(all, config.neighbors);
  build_knn(on, {coords, rank}, there, config.neighbors, graph_);
  unit_ = length([&] { return median_neighbour_distance(on, graph_); });
  if (all > n) pad_graph(on, graph_, all);
  there.coords.shape = {all, 2};
  average_frames(on, there.coords, graph_, config.frames, unit_, type, frames_);
}

WholeGeometry::WholeGeometry(const Tensor& at, const Tensor& rank, const GeometryConfig& config) : coords(at) {
  build_knn(coords, rank, config.neighbors, graph);
  unit = config.scale_free ? median_neighbour_distance(graph) : 1;
  frames = config.frames == FrameMode::exact && degenerate_spots(coords, graph) > 0 ? 8 : 4;
}

void Geometry::build(const WholeGeometry& whole, const Tile& tile, const GeometryConfig& config, DType type) {
  unit_ = whole.unit;
  Tensor xy{nullptr, {tile.size(), 2}, DType::f64};
  xy.data = upload_.room(xy.bytes());
  for (size_t i = 0; i < tile.spots.size(); i++)
    for (size_t axis = 0; axis < 2; axis++) xy.as<double>()[2 * i + axis] = whole.coords.as<double>()[2 * size_t(tile.spots[i]) + axis];
  if (context_.device == Device::cpu) {
    cut_graph(whole.graph, tile, local_, graph_);
    return average_frames(xy, graph_, config.frames, unit_, type, frames_, whole.frames);
  }
  const Cuda on{context_.stream};
  Graph here;
  cut_graph(whole.graph, tile, local_, here);
  graph_ = here.to(Device::cuda);
  input_.reserve(xy.bytes());
  upload_.send(input_.data(), xy.bytes(), on.stream);
  xy.data = input_.data();
  average_frames(on, xy, graph_, config.frames, unit_, type, frames_, whole.frames);
}

std::vector<int32_t> canonical_rank(const std::vector<std::string>& barcodes) {
  std::vector<int32_t> order(barcodes.size()), rank(barcodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return barcodes[size_t(a)] < barcodes[size_t(b)]; });
  for (size_t i = 0; i < order.size(); i++) rank[size_t(order[i])] = int32_t(i);
  return rank;
}

}  // namespace stflow
