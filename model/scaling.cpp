#include "model/scaling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/threads.h"
#include "ops/knn.h"

namespace stflow {

Standardizer Standardizer::fit(const std::vector<const std::vector<float>*>& matrices, int64_t cols, double clip) {
  Standardizer s;
  s.clip = clip;
  std::vector<double> sum(size_t(cols), 0.0), square(size_t(cols), 0.0);
  int64_t rows = 0;
  for (const auto* m : matrices) {
    rows += int64_t(m->size()) / cols;
    for (size_t i = 0; i < m->size(); i++) sum[i % size_t(cols)] += double((*m)[i]);
  }
  check(rows > 0, "standardise: no rows");
  for (auto& v : sum) v /= double(rows);
  for (const auto* m : matrices)
    for (size_t i = 0; i < m->size(); i++) {
      const double d = double((*m)[i]) - sum[i % size_t(cols)];
      square[i % size_t(cols)] += d * d;
    }
  for (auto& v : square) {
    v = std::sqrt(v / double(rows));
    if (!(v > 1e-12)) v = 1;
  }
  s.mean = std::move(sum), s.sd = std::move(square);
  return s;
}

void Standardizer::apply(std::span<float> x) const {
  if (!active()) return;
  const size_t cols = mean.size();
  for (size_t i = 0; i < x.size(); i++) {
    double v = (double(x[i]) - mean[i % cols]) / sd[i % cols];
    if (clip > 0) v = std::clamp(v, -clip, clip);
    x[i] = float(v);
  }
}

void Standardizer::undo(std::vector<float>& x) const {
  if (!active()) return;
  const size_t cols = mean.size();
  for (size_t i = 0; i < x.size(); i++) x[i] = float(double(x[i]) * sd[i % cols] + mean[i % cols]);
}

std::vector<float> log1p(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); i++) y[i] = std::log1p(x[i]);
  return y;
}

FeaturePipeline FeaturePipeline::fit(const std::vector<const Slide*>& train, const std::vector<int>& surroundings, bool standardize) {
  FeaturePipeline p;
  p.surroundings = surroundings;
  std::vector<const std::vector<float>*> features;
  for (const Slide* s : train) features.push_back(&s->features);
  if (standardize) p.scale = Standardizer::fit(features, train[0]->dim, kFeatureClip);
  return p;
}

Surroundings FeaturePipeline::surroundings_of(const Slide& slide) const {
  if (surroundings.empty()) return {};
  Graph graph;  // its distances and reverse lists are needed no longer than this
  build_knn(slide.coords(), slide.ranks(), *std::max_element(surroundings.begin(), surroundings.end()), graph);
  const auto* idx = graph.idx.as<int32_t>();
  return {graph.k, {idx, idx + graph.idx.size()}};
}

std::vector<float> FeaturePipeline::apply(const Slide& slide, const Surroundings& around, std::span<const int32_t> spots) const {
  const size_t dim = size_t(slide.dim), width = size_t(inputs(slide.dim));
  std::vector<float> out(spots.size() * width);
  // Scaled anew for each spot that has it nearby: the whole slide's scaled features are never held.
  const auto own = [&](size_t spot, float* row) {
    std::copy_n(slide.feature_row(int64_t(spot)), dim, row);
    scale.apply({row, dim});
  };
  parallel_for(int64_t(spots.size()), 64, [&](int64_t first, int64_t last) {
    std::vector<double> sum(dim);
    std::vector<float> other(dim);
    for (int64_t i = first; i < last; i++) {
      const auto spot = size_t(spots[size_t(i)]);
      float* row = out.data() + size_t(i) * width;
      own(spot, row);
      // The lists are nested: each sum goes on from the shorter one's if they come in rising order, else from the start.
      std::fill(sum.begin(), sum.end(), 0.0);
      int added = 0;
      for (size_t s = 0; s < surroundings.size(); s++) {
        const int k = std::min(surroundings[s], around.k);
        if (k < added) std::fill(sum.begin(), sum.end(), 0.0), added = 0;
        for (; added < k; added++) {
          own(size_t(around.spots[spot * size_t(around.k) + size_t(added)]), other.data());
          for (size_t c = 0; c < dim; c++) sum[c] += double(other[c]);
        }
        for (size_t c = 0; c < dim; c++) row[(s + 1) * dim + c] = k ? float(sum[c] / k) : 0;
      }
    }
  });
  return out;
}

std::vector<float> FeaturePipeline::apply(const Slide& slide) const {
  std::vector<int32_t> all(size_t(slide.size()));
  std::iota(all.begin(), all.end(), 0);
  return apply(slide, surroundings_of(slide), all);
}

}  // namespace stflow
