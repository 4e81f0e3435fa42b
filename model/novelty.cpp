#include "model/novelty.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "engine/error.h"
#include "engine/random.h"
#include "model/matrix.h"

namespace stflow {
namespace {

constexpr uint32_t kStep = 0xffffffffu;  // apart from the replicates of a bootstrap, which have the stream's other steps
constexpr int64_t kBlock = 256;          // rows whose distances are held at a time

/// Squared distances of `rows` rows of a (rows, dim) to each of the references, in float64: |a|^2 + |b|^2 - 2 ab.
class Distances {
 public:
  Distances(const std::vector<float>& references, int64_t dim) : dim_(dim), b_(references.begin(), references.end()) {
    for (int64_t r = 0; r < size(); r++) squares_.push_back(square(&b_[size_t(r * dim)]));
  }
  [[nodiscard]] int64_t size() const { return int64_t(b_.size()) / dim_; }

  /// (rows, size()), valid until the next call.
  const std::vector<double>& operator()(const float* a, int64_t rows) {
    a_.assign(a, a + rows * dim_);
    out_.resize(size_t(rows * size()));
    product_(a_.data(), dim_, rows, b_.data(), dim_, true, size(), dim_, out_.data(), size());
    for (int64_t i = 0; i < rows; i++) {
      const double own = square(&a_[size_t(i * dim_)]);
      for (int64_t r = 0; r < size(); r++) {
        double& d = out_[size_t(i * size() + r)];
        d = own + squares_[size_t(r)] - 2 * d;
        if (d < 0) d = 0;  // rounding; NaN stays
      }
    }
    return out_;
  }

 private:
  [[nodiscard]] double square(const double* x) const {
    double sum = 0;
    for (int64_t k = 0; k < dim_; k++) sum += x[k] * x[k];
    return sum;
  }

  int64_t dim_;
  std::vector<double> b_, squares_, a_, out_;
  Product product_;
};

struct Candidate {
  uint32_t draw;
  int32_t slide;
  int64_t spot;
};

// The spots with the smallest draws, in the order of the sections.
std::vector<Candidate> drawn(const std::vector<const Slide*>& train, uint64_t seed) {
  std::vector<Candidate> all;
  for (size_t s = 0; s < train.size(); s++)
    for (int64_t i = 0; i < train[s]->size(); i++)
      all.push_back({RandomKey(seed, Stream::split, kStep).draw(all.size()).v[0], int32_t(s), i});
  const auto before = [](const Candidate& a, const Candidate& b) {
    return std::tie(a.draw, a.slide, a.spot) < std::tie(b.draw, b.slide, b.spot);
  };
  const auto count = std::min<int64_t>(int64_t(all.size()), Novelty::kMost);
  std::partial_sort(all.begin(), all.begin() + count, all.end(), before);
  all.resize(size_t(count));
  std::sort(all.begin(), all.end(),
            [](const Candidate& a, const Candidate& b) { return std::tie(a.slide, a.spot) < std::tie(b.slide, b.spot); });
  return all;
}

}  // namespace

Novelty Novelty::fit(const std::vector<const Slide*>& train, const Standardizer& scale, uint64_t seed) {
  check(!train.empty(), "novelty: no training slides");
  Novelty n;
  n.dim = train[0]->dim;
  const std::vector<Candidate> chosen = drawn(train, seed);
  if (chosen.size() < 2) return n;
  for (const Candidate& c : chosen) {
    const auto from = train[size_t(c.slide)]->features.begin() + c.spot * n.dim;
    n.features.insert(n.features.end(), from, from + n.dim);
  }
  Standardizer uncut = scale;
  uncut.clip = 0;
  uncut.apply(n.features);

  const bool sections = chosen.front().slide != chosen.back().slide;
  Distances to(n.features, n.dim);
  for (int64_t begin = 0; begin < to.size(); begin += kBlock) {
    const int64_t rows = std::min(kBlock, to.size() - begin);
    const std::vector<double>& d = to(&n.features[size_t(begin * n.dim)], rows);
    for (int64_t i = 0; i < rows; i++) {
      double nearest = std::numeric_limits<double>::infinity();
      for (int64_t r = 0; r < to.size(); r++) {
        const bool own = sections ? chosen[size_t(r)].slide == chosen[size_t(begin + i)].slide : r == begin + i;
        if (!own) nearest = std::min(nearest, d[size_t(i * to.size() + r)]);
      }
      n.distances.push_back(std::sqrt(nearest));
    }
  }
  std::sort(n.distances.begin(), n.distances.end());
  return n;
}

NoveltyScores Novelty::score(std::span<const float> slide, Standardizer scale, int64_t first) const {
  check(active() && int64_t(slide.size()) % dim == 0, "novelty: {} numbers for features of width {}", slide.size(), dim);
  scale.clip = 0;
  const size_t at = distances.size() / 2;
  const double median = distances.size() % 2 ? distances[at] : (distances[at - 1] + distances[at]) / 2;
  const double unit = median > 0 ? median : 1;  // sections that are copies of each other
  const double bound = distances[size_t(std::ceil(0.99 * double(size()))) - 1];
  const int64_t n = int64_t(slide.size()) / dim;
  NoveltyScores s;
  Distances to(features, dim);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t rows = std::min(kBlock, n - begin);
    std::vector<float> part(slide.begin() + begin * dim, slide.begin() + (begin + rows) * dim);
    scale.apply(part);
    const std::vector<double>& d = to(part.data(), rows);
    for (int64_t i = 0; i < rows; i++) {
      const auto from = d.begin() + i * size();
      const double nearest = std::sqrt(*std::min_element(from, from + size()));
      if (!std::isfinite(nearest))
        fail(Exit::data, "features: spot {} has one that is not finite, expected numbers", first + begin + i + 1);
      s.ratio.push_back(float(nearest / unit));
      s.novel.push_back(nearest > bound);
    }
  }
  return s;
}

}  // namespace stflow
