// What a training step looks at: whole slides, or discs of slides as the reference cuts them (STFLOW.md 8).
#pragma once
#include <vector>

#include "engine/random.h"
#include "engine/storage.h"
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

/// A training slide where a context's device reads it: on the CPU where it is, on a GPU copied there, once for all its items.
class ResidentSlide {
 public:
  /// `s` must stay.
  ResidentSlide(const TrainingSlide& s, const GeometryConfig& config, const Context& context);
  [[nodiscard]] const Slide& slide() const { return *s_.slide; }
  [[nodiscard]] const Tensor& inputs() const { return inputs_; }
  [[nodiscard]] const Tensor& targets() const { return targets_; }
  [[nodiscard]] const Tensor& ranks() const { return ranks_; }  // (n) i32
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }

 private:
  const TrainingSlide& s_;
  Geometry geometry_;
  Tensor inputs_, targets_, ranks_;
  std::vector<Array> copies_;  // of a GPU's
};

/// One item, in memory that is reused from step to step. All its tensors are where the context's device reads them. On a GPU a disc may
/// have more rows than spots: it comes in few sizes, so that its step can be recorded as a graph. The rows behind the spots repeat the
/// last one, are nobody's neighbours, and must not count in the loss.
class Item {
 public:
  explicit Item(const Context& context = {});

  /// The whole slide, which must stay.
  void set_whole(const ResidentSlide& s);
  /// A disc: n = max(2, floor(N u)) spots nearest to a random spot (itself included; ties by rank), u and the centre from `key`.
  /// Lengths keep the slide's unit. On a GPU, after reserve() and with the frames of the reference, the host neither waits for the GPU nor
  /// asks for its memory.
  void set_disc(const ResidentSlide& s, const GeometryConfig& config, const RandomKey& key);
  /// The host's part of that, which takes longest: before a set_disc() of the same slide and key it need not be done there.
  void choose_disc(const Slide& slide, const RandomKey& key);
  /// For a GPU: memory for discs of s, the largest slide. From now on discs have one of kSizes numbers of rows, and their tensors stay.
  void reserve(const ResidentSlide& s, const GeometryConfig& config);
  static constexpr int64_t kSizes = 16;

  /// How many spots the disc of this key has on a slide of `total`.
  static int64_t disc_size(int64_t total, const RandomKey& key);

  [[nodiscard]] int64_t size() const { return spots_; }
  [[nodiscard]] const Tensor& inputs() const { return inputs_; }
  [[nodiscard]] const Tensor& targets() const { return targets_; }
  [[nodiscard]] const Tensor& ranks() const { return ranks_; }  // (n) i32, the disc's own order
  [[nodiscard]] const Geometry& geometry() const { return *geometry_; }

 private:
  void gather(const ResidentSlide& s, int64_t rows);

  Context context_;
  int64_t spots_ = 0, largest_ = 0;
  Tensor inputs_, targets_, ranks_;
  const Geometry* geometry_ = nullptr;
  // Of a disc:
  Geometry own_;
  Upload upload_;
  Storage rows_there_, input_memory_, target_memory_;
  std::vector<double> xy_, distance_;
  std::vector<int32_t> rank_memory_, rows_, by_rank_;
  const Slide* chosen_of_ = nullptr;  // whose spots rows_ are,
  RandomKey chosen_by_;               // and by which key
};

}  // namespace stflow
