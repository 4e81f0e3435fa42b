#include "model/folds.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "model/metrics.h"

namespace stflow {
namespace {

constexpr size_t kMostFolds = 5;
constexpr int64_t kSmallestToCut = 32;

std::vector<Slide> quarters(const Slide& s) {
  if (s.size() < kSmallestToCut) return {};
  const std::vector<int32_t> block = spatial_blocks(s.coords(), s.ranks(), 4);
  std::vector<std::vector<int64_t>> rows(4);
  for (int64_t i = 0; i < s.size(); i++) rows[size_t(block[size_t(i)])].push_back(i);
  std::vector<Slide> parts;
  for (const auto& r : rows) parts.push_back(s.part(r));
  for (size_t i = 0; i < parts.size(); i++) parts[i].name += " quarter " + std::to_string(i + 1);
  return parts;
}

// Inputs and targets of some slides, one below the other.
struct Stack {
  std::vector<float> x, y;
  void add(const Slide& s, const FeaturePipeline& pipeline) {
    const std::vector<float> rows = pipeline.apply(s), logs = log1p(s.counts);
    x.insert(x.end(), rows.begin(), rows.end()), y.insert(y.end(), logs.begin(), logs.end());
  }
};

}  // namespace

Tensor matrix(const std::vector<float>& v, int64_t cols) {
  return {const_cast<float*>(v.data()), {int64_t(v.size()) / cols, cols}, DType::f32};
}

Folds::Folds(const std::vector<Slide>& train, const std::vector<Slide>& val) {
  if (!val.empty()) {
    folds.push_back({pointers(train), pointers(val)});
    validation = true;
    return;
  }
  if (train.size() == 1) blocks = quarters(train[0]);
  const std::vector<const Slide*> units = pointers(train.size() == 1 ? blocks : train);
  const size_t n = std::min(units.size(), kMostFolds);
  for (size_t f = 0; f < n; f++) {
    Fold fold;
    for (size_t i = 0; i < units.size(); i++) (i % n == f ? fold.held_out : fold.train).push_back(units[i]);
    folds.push_back(fold);
  }
}

std::vector<float> LinearModel::predict(const Slide& slide) const {
  const std::vector<float> x = pipeline.apply(slide);
  std::vector<float> y(size_t(slide.size() * ridge.outputs));
  ridge.predict(matrix(x, ridge.features), matrix(y, ridge.outputs));
  return y;
}

double choose_penalty(const Folds& folds, const FeaturePipeline& pipeline, int64_t genes) {
  if (folds.folds.empty()) return 1;
  const int64_t width = pipeline.inputs(folds.folds[0].train[0]->dim);
  const std::vector<double> lambdas(std::begin(kRidgeLambdas), std::end(kRidgeLambdas));
  if (!folds.validation) {
    Stack all;
    std::vector<int32_t> group;
    for (size_t f = 0; f < folds.folds.size(); f++)
      for (const Slide* s : folds.folds[f].held_out) all.add(*s, pipeline), group.insert(group.end(), size_t(s->size()), int32_t(f));
    return choose_ridge(matrix(all.x, width), matrix(all.y, genes), {group.data(), {int64_t(group.size())}, DType::i32}, lambdas).lambda;
  }
  Stack train, val;
  for (const Slide* s : folds.folds[0].train) train.add(*s, pipeline);
  for (const Slide* s : folds.folds[0].held_out) val.add(*s, pipeline);
  double best = -2, chosen = 1;
  for (double lambda : lambdas) {
    std::vector<float> guess(val.y.size());
    fit_ridge(matrix(train.x, width), matrix(train.y, genes), lambda).predict(matrix(val.x, width), matrix(guess, genes));
    const double found = score(matrix(guess, genes), matrix(val.y, genes)).mean_pearson;
    if (found > best) best = found, chosen = lambda;
  }
  return chosen;
}

LinearModel fit_linear(const std::vector<Slide>& train, const Folds& folds, const std::vector<int>& surroundings, int64_t genes) {
  LinearModel m;
  m.pipeline = FeaturePipeline::fit(pointers(train), surroundings, true);
  m.lambda = choose_penalty(folds, m.pipeline, genes);
  Stack all;
  for (const Slide& s : train) all.add(s, m.pipeline);
  m.ridge = fit_ridge(matrix(all.x, m.pipeline.inputs(train[0].dim)), matrix(all.y, genes), m.lambda);
  return m;
}

}  // namespace stflow
