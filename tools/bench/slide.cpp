// A whole slide through a whole model, in tiles: what a million spots take.
#include <cstdlib>

#include "data/feature_store.h"
#include "tools/bench/bench.h"
#include "tools/bench/made_up_slide.h"
#include "tools/memory.h"
#include "tools/predict/plan.h"

namespace stflow::benchmark {

JsonOut measure_slide(int64_t spots, uint64_t limit, double seconds, const DeviceFlag& flag) {
  constexpr int64_t kWidth = 768;
  const Context context = choose_device(flag).context;
  ModelConfig c = preset("default");
  c.denoiser.genes = kGenes, c.denoiser.features = kWidth * int64_t(1 + c.surroundings.size());
  Predictor model(c, context);
  for (int64_t g = 0; g < kGenes; g++) model.genes.push_back(fmt::format("G{}", g));
  model.prior = fit_prior(PriorKind::zinb_fixed, std::vector<float>(size_t(kGenes), 1.0f), kGenes);

  Slide slide = made_up_slide(spots, 0);
  slide.counts = {}, slide.dim = kWidth;
  const char* folder = std::getenv("TMPDIR");
  FeatureStore features(spots, kWidth, folder && *folder ? folder : "/tmp");
  const RandomKey key(1, Stream::test, 1, 0);
  std::vector<float> row(static_cast<size_t>(kWidth));
  for (int64_t i = 0; i < spots; i++) {
    const Philox4 r = key.draw(uint64_t(i));
    for (size_t f = 0; f < row.size(); f++) row[f] = float(2 * open01(r.v[f % 4], r.v[(f / 4) % 4]) - 1);
    features.put(i, row.data());
  }
  slide.lent = features.rows();

  PredictOptions options{.each_draw = [&] { features.forget(); }};
  const PredictionPlan plan = plan_prediction(model, spots, options, limit, rss_bytes());
  options.most_spots = plan.most_spots;
  int64_t tiles = 0, largest = 0;
  JsonOut json{{"name", "default preset"}, {"preset", "default"}, {"spots", spots}};
  json.update(time_runs(
      seconds,
      [&] {
        const Prediction p = model.predict(slide, options);
        tiles = p.tiles, largest = p.largest_tile;
      },
      seconds));
  json["tiles"] = tiles, json["largest_tile"] = largest;
  json["planned_bytes"] = plan.held + plan.per_spot * size_t(largest);
  add_device_memory(json, context);
  return json;
}

}  // namespace stflow::benchmark
