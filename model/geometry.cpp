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

std::vector<int32_t> canonical_rank(const std::vector<std::string>& barcodes) {
  std::vector<int32_t> order(barcodes.size()), rank(barcodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return barcodes[size_t(a)] < barcodes[size_t(b)]; });
  for (size_t i = 0; i < order.size(); i++) rank[size_t(order[i])] = int32_t(i);
  return rank;
}

}  // namespace stflow
