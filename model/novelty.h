// How far a spot's features are from all that a model was trained on: a model says nothing about tissue, stains or scanners it never saw.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "model/scaling.h"

namespace stflow {

/// Of each spot: its distance to the nearest reference in units of the median such distance of training spots, and whether it is farther
/// than 99 in 100 of those.
struct NoveltyScores {
  std::vector<float> ratio;
  std::vector<uint8_t> novel;
};

/// Reference spots of the training sections, in standardised features (uncut: what is far must look far), and the distance of each to the
/// nearest reference of another section (of the same one where there is one section only): how far a new section of the same kind is.
struct Novelty {
  static constexpr int64_t kMost = 1024;  // references

  int64_t dim = 0;
  std::vector<float> features;    // (R, dim)
  std::vector<double> distances;  // (R) ascending

  /// False for models of before this, and of fewer than two training spots: then nothing is scored.
  [[nodiscard]] bool active() const { return !distances.empty(); }
  [[nodiscard]] int64_t size() const { return int64_t(distances.size()); }
  /// At most kMost spots of `train` (at least one slide, of one width), drawn without return by Philox from `seed`.
  static Novelty fit(const std::vector<const Slide*>& train, const Standardizer& scale, uint64_t seed);
  /// For a slide's features (n, dim) as the encoder gives them. The same bits at any thread count and in any order of spots.
  /// Throws Exit::data for a feature that is not finite. `first`: how many of the slide's spots are before these, for that message.
  [[nodiscard]] NoveltyScores score(std::span<const float> slide, Standardizer scale, int64_t first = 0) const;
};

}  // namespace stflow
