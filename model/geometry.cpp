#include "model/geometry.h"

#include <algorithm>
#include <numeric>

#include "engine/op.h"
#include "ops/knn.h"

namespace stflow {

void Geometry::build(const Tensor& coords, const Tensor& rank, const GeometryConfig& config, DType type, double unit) {
  auto length = [&](auto median) { return !config.scale_free ? 1 : unit > 0 ? unit : median(); };
  if (context_.device == Device::cpu) {
    build_knn(coords, rank, config.neighbors, graph_);
    unit_ = length([&] { return median_neighbour_distance(graph_); });
    return average_frames(coords, graph_, config.frames, unit_, type, frames_);
  }
  const Cuda on{context_.stream};
  Tensor xy = coords, order = rank;
  input_.reserve(aligned(coords.bytes()) + rank.bytes());
  xy.data = input_.data(), order.data = static_cast<char*>(input_.data()) + aligned(coords.bytes());
  copy(Device::cuda, xy.data, Device::cpu, coords.data, coords.bytes(), on.stream);
  copy(Device::cuda, order.data, Device::cpu, rank.data, rank.bytes(), on.stream);
  build_knn(on, xy, order, config.neighbors, graph_);
  unit_ = length([&] { return median_neighbour_distance(on, graph_); });
  average_frames(on, xy, graph_, config.frames, unit_, type, frames_);
}

WholeGeometry::WholeGeometry(const Tensor& at, const Tensor& rank, const GeometryConfig& config) : coords(at) {
  build_knn(coords, rank, config.neighbors, graph);
  unit = config.scale_free ? median_neighbour_distance(graph) : 1;
  frames = config.frames == FrameMode::exact && degenerate_spots(coords, graph) > 0 ? 8 : 4;
}

void Geometry::build(const WholeGeometry& whole, const Tile& tile, const GeometryConfig& config, DType type) {
  unit_ = whole.unit;
  places_.resize(size_t(2 * tile.size()));
  for (size_t i = 0; i < tile.spots.size(); i++)
    for (size_t axis = 0; axis < 2; axis++) places_[2 * i + axis] = whole.coords.as<double>()[2 * size_t(tile.spots[i]) + axis];
  Tensor xy{places_.data(), {tile.size(), 2}, DType::f64};
  if (context_.device == Device::cpu) {
    cut_graph(whole.graph, tile, local_, graph_);
    return average_frames(xy, graph_, config.frames, unit_, type, frames_, whole.frames);
  }
  const Cuda on{context_.stream};
  Graph here;
  cut_graph(whole.graph, tile, local_, here);
  graph_ = here.to(Device::cuda);
  input_.reserve(xy.bytes());
  copy(Device::cuda, input_.data(), Device::cpu, xy.data, xy.bytes(), on.stream);
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
