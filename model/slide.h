// One section as a model sees it: positions, features and, where known, counts of the panel's genes.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace stflow {

struct Slide {
  std::string name;
  std::vector<std::string> spots;  // barcodes, n, unique
  std::vector<double> xy;          // (n, 2) pixels
  std::vector<int32_t> rank;       // (n) position of each spot in barcode order (canonical_rank)
  int64_t dim = 0;
  std::vector<float> features;  // (n, dim), as the encoder gives them
  std::span<const float> lent;  // the same in somebody else's memory, where `features` is empty
  std::vector<float> counts;    // (n, G) raw counts of the panel; empty where nothing was measured

  [[nodiscard]] const float* feature_row(int64_t i) const { return (features.empty() ? lent.data() : features.data()) + i * dim; }
  [[nodiscard]] int64_t size() const { return int64_t(spots.size()); }
  [[nodiscard]] Tensor coords() const { return {const_cast<double*>(xy.data()), {size(), 2}, DType::f64}; }
  [[nodiscard]] Tensor ranks() const { return {const_cast<int32_t*>(rank.data()), {size()}, DType::i32}; }

  /// The spots `rows` of this slide, in that order: a training disc, a spatial block.
  [[nodiscard]] Slide part(const std::vector<int64_t>& rows) const;
};

std::vector<const Slide*> pointers(const std::vector<Slide>& slides);

}  // namespace stflow
