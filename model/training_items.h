// What a training step looks at: whole slides, or discs of slides as the reference cuts them (STFLOW.md 8).
#pragma once
#include <vector>

#include "engine/random.h"
#include "model/geometry.h"
#include "model/slide.h"

namespace stflow {

enum class ItemLaw { whole, disc };

/// Which slide the i-th item of a run shows.
struct ItemOrder {
  int64_t slides = 1;
  int repeats = 1;      // items of one slide in a row
  bool shuffle = true;  // slides in a new order each pass
  uint64_t seed = 0;

  [[nodiscard]] int64_t per_pass() const { return slides * repeats; }
  [[nodiscard]] int64_t slide_of(int64_t item) const;
};

/// A slide prepared for training: inputs (n, F) of the model and scaled targets (n, G).
struct TrainingSlide {
  const Slide* slide = nullptr;
  std::vector<float> inputs, targets;
};

/// One item, in memory that is reused from step to step.
class Item {
 public:
  /// inputs(), targets() and ranks() are in the host's memory, geometry() is in that of the context's device.
  explicit Item(const Context& context = {}) : own_(context) {}

  /// The whole slide. `geometry` is the slide's and must stay.
  void set_whole(const TrainingSlide& s, const Geometry& geometry);
  /// A disc: n = max(2, floor(N u)) spots nearest to a random spot (itself included; ties by rank), u and the centre from `key`.
  /// Lengths keep the slide's unit.
  void set_disc(const TrainingSlide& s, const Geometry& slide_geometry, const GeometryConfig& config, const RandomKey& key);

  /// How many spots the disc of this key has on a slide of `total`.
  static int64_t disc_size(int64_t total, const RandomKey& key);

  [[nodiscard]] int64_t size() const { return inputs_.shape[0]; }
  [[nodiscard]] const Tensor& inputs() const { return inputs_; }
  [[nodiscard]] const Tensor& targets() const { return targets_; }
  [[nodiscard]] const Tensor& ranks() const { return ranks_; }  // (n) i32, the disc's own order
  [[nodiscard]] const Geometry& geometry() const { return *geometry_; }

 private:
  Tensor inputs_, targets_, ranks_;
  const Geometry* geometry_ = nullptr;
  Geometry own_;
  std::vector<float> input_memory_, target_memory_;
  std::vector<double> xy_, distance_;
  std::vector<int32_t> rank_memory_;
  std::vector<int64_t> rows_, by_rank_;
};

}  // namespace stflow
