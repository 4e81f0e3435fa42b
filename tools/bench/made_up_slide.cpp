#include "tools/bench/made_up_slide.h"

#include <cmath>

namespace stflow::benchmark {

Slide made_up_slide(int64_t n, int64_t features) {
  Slide s;
  s.name = fmt::format("{} spots", n), s.dim = features;
  const auto columns = int64_t(std::ceil(std::sqrt(double(n))));
  for (int64_t i = 0; i < n; i++) {
    s.spots.push_back(fmt::format("spot{:08}", i));
    const int64_t column = i % columns, row = i / columns;
    s.xy.push_back(100 * (double(column) + 0.5 * double(row % 2))), s.xy.push_back(86.6 * double(row));
  }
  const RandomKey key(1, Stream::test, 0, 0);
  const auto uniform = [&](int64_t i) {
    const Philox4 r = key.draw(uint64_t(i));
    return open01(r.v[0], r.v[1]);
  };
  s.features.resize(size_t(n * features)), s.counts.resize(size_t(n * kGenes));
  for (int64_t i = 0; i < n * features; i++) s.features[size_t(i)] = float(2 * uniform(i) - 1);
  for (int64_t i = 0; i < n * kGenes; i++) s.counts[size_t(i)] = float(std::floor(10 * uniform(n * features + i)));
  s.rank = canonical_rank(s.spots);
  return s;
}

ModelConfig sized(const std::string& name) {
  ModelConfig c = preset(name);
  c.denoiser.genes = kGenes;
  c.denoiser.features = kFeatures * int64_t(1 + c.surroundings.size());
  c.training.batch = 1, c.training.item = ItemLaw::whole, c.training.steps = int64_t(1) << 40;
  return c;
}

}  // namespace stflow::benchmark
