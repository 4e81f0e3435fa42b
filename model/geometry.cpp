#include "model/geometry.h"

#include <algorithm>
#include <numeric>

#include "ops/knn.h"

namespace stflow {

void Geometry::build(const Tensor& coords, const Tensor& rank, const GeometryConfig& config, DType type, double unit) {
  if (context_.device != Device::cpu) {
    Geometry here;
    here.build(coords, rank, config, type, unit);
    graph_ = here.graph_.to(context_.device);
    unit_ = here.unit_;
    frames_.count = here.frames_.count, frames_.degenerate = here.frames_.degenerate;
    frame_values_ = copy_of(here.frames_.values, Device::cpu, context_.device, context_.stream);
    frames_.values = frame_values_;
    return;
  }
  build_knn(coords, rank, config.neighbors, graph_);
  unit_ = !config.scale_free ? 1 : unit > 0 ? unit : median_neighbour_distance(graph_);
  average_frames(coords, graph_, config.frames, unit_, type, frames_);
}

std::vector<int32_t> canonical_rank(const std::vector<std::string>& barcodes) {
  std::vector<int32_t> order(barcodes.size()), rank(barcodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return barcodes[size_t(a)] < barcodes[size_t(b)]; });
  for (size_t i = 0; i < order.size(); i++) rank[size_t(order[i])] = int32_t(i);
  return rank;
}

}  // namespace stflow
