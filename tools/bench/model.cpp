// STFlow itself: an optimiser step and a sampling run on a made-up slide.
#include <cmath>

#include "model/config.h"
#include "tools/bench/bench.h"

namespace stflow::benchmark {
namespace {

constexpr int64_t kFeatures = 1024, kGenes = 50;

// n spots on a hexagonal grid, features ~ U(-1, 1), counts 0 to 9.
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

// A preset's denoiser for the inputs that 1024 features become under it.
ModelConfig sized(const std::string& name) {
  ModelConfig c = preset(name);
  c.denoiser.genes = kGenes;
  c.denoiser.features = kFeatures * int64_t(1 + c.surroundings.size());
  c.training.batch = 1, c.training.item = ItemLaw::whole, c.training.steps = int64_t(1) << 40;
  return c;
}

JsonOut named(const std::string& preset, int64_t spots) { return {{"name", preset + " preset"}, {"preset", preset}, {"spots", spots}}; }

}  // namespace

JsonOut measure_step(const std::string& preset, int64_t spots, double seconds) {
  const ModelConfig c = sized(preset);
  const Slide slide = made_up_slide(spots, c.denoiser.features);
  const Prior prior = fit_prior(PriorKind::zinb_fixed, slide.counts, kGenes);
  const Standardizer targets;
  std::vector<TrainingSlide> items{{&slide, slide.features, log1p(slide.counts)}};
  ParameterSet set;
  const Denoiser denoiser(set, c.denoiser);
  set.allocate(1);
  Trainer trainer(denoiser, set, items, c.geometry, prior, targets, c.training, 1);
  JsonOut row = named(preset, spots);
  row.update(time_runs(seconds, [&] { trainer.step(); }));
  row["arena_bytes"] = trainer.arena_bytes();
  return row;
}

JsonOut measure_sample(const std::string& preset, int64_t spots, double seconds) {
  const ModelConfig c = sized(preset);
  const Slide slide = made_up_slide(spots, c.denoiser.features);
  const Prior prior = fit_prior(PriorKind::zinb_fixed, slide.counts, kGenes);
  const Tensor features{const_cast<float*>(slide.features.data()), {spots, c.denoiser.features}, DType::f32};
  ParameterSet set;
  const Denoiser denoiser(set, c.denoiser);
  set.allocate(1);
  Sampler sampler(denoiser, set);
  Geometry geometry;
  Array y({spots, kGenes}, DType::f32);
  uint32_t draw = 0;
  JsonOut row = named(preset, spots);
  row.update(time_runs(seconds, [&] {
    geometry.build(slide.coords(), slide.ranks(), c.geometry, DType::f32);
    sampler.set_slide(features, geometry);
    prior.sample(slide.ranks(), RandomKey(1, Stream::prior, draw++, 0), Standardizer(), y);
    sampler.sample(y, 5);
  }));
  row["arena_bytes"] = sampler.arena_bytes();
  return row;
}

}  // namespace stflow::benchmark
