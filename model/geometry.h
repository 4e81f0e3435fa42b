// One slide's (or training disc's) geometry as the denoiser sees it. Depends on coordinates only: computed once.
#pragma once
#include <string>
#include <vector>

#include "model/tiles.h"
#include "ops/frames.h"
#include "ops/graph.h"

namespace stflow {

/// How a model looks at coordinates.
struct GeometryConfig {
  int neighbors = 8;
  FrameMode frames = FrameMode::exact;
  bool scale_free = true;  // lengths in units of the slide's median nearest-neighbour distance; false: as given (raw pixels)
};

/// What the tiles of a slide have in common, in the host's memory.
struct WholeGeometry {
  Tensor coords;  // (n, 2) f64; must stay
  Graph graph;
  double unit = 1;
  int frames = 4;  // of an edge

  /// As Geometry::build().
  WholeGeometry(const Tensor& coords, const Tensor& rank, const GeometryConfig& config);
};

/// Memory is reused from slide to slide.
class Geometry {
 public:
  /// graph() and frames() are in the memory of the context's device.
  explicit Geometry(const Context& context = {})
      : context_(context), graph_(context.device), frames_(context.device), upload_(context.device), input_(0, context.device) {}
  /// coords (n, 2) f64; rank (n) i32 = position of each spot in barcode order (ties, P20), in the host's memory. `unit` > 0 replaces the
  /// median distance (a training disc is measured in its slide's unit). Throws Exit::data for coordinates that are not finite.
  /// `rows`, on a GPU: so many spots, the further ones at the place of the last, with its neighbours, and nobody's neighbours themselves;
  /// in memory that does not move from one n to another as long as `rows` is no larger than before.
  void build(const Tensor& coords, const Tensor& rank, const GeometryConfig& config, DType type, double unit = 0, int64_t rows = 0);

  /// A tile of a slide, for inference only: for its own spots the same numbers as the whole slide's. Its graph has no reverse lists.
  void build(const WholeGeometry& whole, const Tile& tile, const GeometryConfig& config, DType type);

  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const Frames& frames() const { return frames_; }
  [[nodiscard]] double unit() const { return unit_; }

 private:
  Context context_;
  Graph graph_;
  Frames frames_;
  Upload upload_;
  Storage input_;               // coordinates and ranks on a device
  std::vector<int32_t> local_;  // of a tile: the number of each of the slide's spots
  double unit_ = 1;
};

/// Position of each name in byte order: the canonical order of spots. Names are unique.
std::vector<int32_t> canonical_rank(const std::vector<std::string>& barcodes);

}  // namespace stflow
