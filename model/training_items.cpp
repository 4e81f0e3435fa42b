#include "model/training_items.h"

#include <algorithm>
#include <cmath>

namespace stflow {

// Fisher-Yates on the slides of one pass, i = slides - 1 down to 1: a pure function of (seed, pass). Only one place is asked
// for, so the swaps are undone from the last to the first, which shows where its slide came from.
int64_t ItemOrder::slide_of(int64_t item) const {
  const int64_t pass = item / per_pass();
  int64_t place = item % per_pass() / repeats;
  if (!shuffle) return place;
  const RandomKey key(seed, Stream::item, uint32_t(pass), 1);
  for (int64_t i = 1; i < slides; i++) {
    const Philox4 r = key.draw(uint64_t(i));
    const auto other = int64_t(((uint64_t(r.v[0]) << 32) | r.v[1]) % uint64_t(i + 1));
    if (place == i) place = other;
    else if (place == other) place = i;
  }
  return place;
}

namespace {

Tensor table(const std::vector<float>& v, int64_t rows) {
  return {const_cast<float*>(v.data()), {rows, int64_t(v.size()) / std::max<int64_t>(rows, 1)}, DType::f32};
}

}  // namespace

void Item::set_whole(const TrainingSlide& s, const Geometry& geometry) {
  inputs_ = table(s.inputs, s.slide->size());
  targets_ = table(s.targets, s.slide->size());
  ranks_ = s.slide->ranks();
  geometry_ = &geometry;
}

int64_t Item::disc_size(int64_t total, const RandomKey& key) {
  const Philox4 r = key.draw(0);
  return std::min(total, std::max<int64_t>(2, int64_t(std::floor(double(total) * open01(r.v[0], r.v[1])))));
}

void Item::set_disc(const TrainingSlide& s, const Geometry& slide_geometry, const GeometryConfig& config, const RandomKey& key) {
  const Slide& slide = *s.slide;
  const int64_t total = slide.size();
  const Philox4 r = key.draw(0);
  const int64_t n = disc_size(total, key);
  const int64_t centre_rank = int64_t(((uint64_t(r.v[2]) << 32) | r.v[3]) % uint64_t(total));
  // By rank, so that the disc does not depend on the order of rows.
  by_rank_.resize(size_t(total));
  for (int64_t i = 0; i < total; i++) by_rank_[size_t(slide.rank[size_t(i)])] = i;
  const int64_t centre = by_rank_[size_t(centre_rank)];
  distance_.resize(size_t(total));
  for (int64_t i = 0; i < total; i++) {
    const double dx = slide.xy[size_t(2 * i)] - slide.xy[size_t(2 * centre)],
                 dy = slide.xy[size_t(2 * i + 1)] - slide.xy[size_t(2 * centre + 1)];
    distance_[size_t(i)] = dx * dx + dy * dy;
  }
  rows_ = by_rank_;
  auto nearer = [&](int64_t a, int64_t b) {
    const double da = distance_[size_t(a)], db = distance_[size_t(b)];
    return da != db ? da < db : slide.rank[size_t(a)] < slide.rank[size_t(b)];
  };
  std::nth_element(rows_.begin(), rows_.begin() + (n - 1), rows_.end(), nearer);
  rows_.resize(size_t(n));
  std::sort(rows_.begin(), rows_.end(), [&](int64_t a, int64_t b) { return slide.rank[size_t(a)] < slide.rank[size_t(b)]; });

  const int64_t width = int64_t(s.inputs.size()) / total, genes = int64_t(s.targets.size()) / total;
  input_memory_.resize(size_t(n * width)), target_memory_.resize(size_t(n * genes)), xy_.resize(size_t(2 * n)),
      rank_memory_.resize(size_t(n));
  for (int64_t i = 0; i < n; i++) {
    const int64_t row = rows_[size_t(i)];
    std::copy_n(s.inputs.begin() + row * width, width, input_memory_.begin() + i * width);
    std::copy_n(s.targets.begin() + row * genes, genes, target_memory_.begin() + i * genes);
    std::copy_n(slide.xy.begin() + 2 * row, 2, xy_.begin() + 2 * i);
    rank_memory_[size_t(i)] = int32_t(i);
  }
  inputs_ = table(input_memory_, n), targets_ = table(target_memory_, n);
  ranks_ = {rank_memory_.data(), {n}, DType::i32};
  own_.build({xy_.data(), {n, 2}, DType::f64}, ranks_, config, DType::f32, slide_geometry.unit());
  geometry_ = &own_;
}

}  // namespace stflow
