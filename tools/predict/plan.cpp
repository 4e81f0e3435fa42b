#include "tools/predict/plan.h"

#include <algorithm>

#include "tools/terminal.h"

namespace stflow {
namespace {

constexpr size_t kFreely = size_t(1) << 30;  // for a tile where no limit is set
constexpr int64_t kLeastTile = 512;          // spots: smaller tiles are all halo

// Of a slide's spot while it is predicted in tiles.
size_t held_per_spot(const Predictor& model, const PredictOptions& options) {
  const ModelConfig& c = model.config;
  constexpr size_t kPlaces = 2 * sizeof(double) + sizeof(int32_t), kName = 64, kSearch = 64;  // of the k-d tree
  const auto lists = [](size_t k) { return k * (2 * sizeof(int32_t) + sizeof(double)); };
  size_t surroundings = 0;
  for (const int k : c.surroundings) surroundings = std::max(surroundings, size_t(k));
  const size_t results = 2 + options.quantiles.size() + (options.keep_draws ? size_t(c.samples + c.members) : 0) + !options.known.empty();
  const size_t neighbours = lists(size_t(c.geometry.neighbors)) + 3 * sizeof(int32_t);
  // The lists of surroundings shrink to their numbers before there are results.
  return kPlaces + kName + kSearch + neighbours +
         std::max(lists(surroundings), surroundings * sizeof(int32_t) + results * model.genes.size() * sizeof(float));
}

}  // namespace

PredictionPlan plan_prediction(const Predictor& model, int64_t n, const PredictOptions& options, size_t limit, size_t used) {
  PredictionPlan p;
  p.spots = n, p.limit = limit;
  p.held = used + size_t(n) * held_per_spot(model, options);
  p.per_spot = model.bytes_per_spot(n, options);
  const size_t least = size_t(std::min(n, kLeastTile)) * p.per_spot;
  if (limit > 0 && p.held + least > limit)
    fail(Exit::memory, "--max-mem: found {}, expected at least {} for {} spots of {} genes", terminal::bytes(limit),
         terminal::bytes(p.held + least), n, model.genes.size());
  const size_t room = limit > 0 ? limit - p.held : kFreely;
  p.most_spots = int64_t(room / p.per_spot) >= n ? 0 : std::max(kLeastTile, int64_t(room / p.per_spot));
  return p;
}

std::string text_of(const PredictionPlan& p) {
  const int64_t tile = p.most_spots ? p.most_spots : p.spots;
  return fmt::format("{} spots{}; memory: {} held, {} for what is computed at once{}", p.spots,
                     p.most_spots ? fmt::format(" in tiles of at most {}", p.most_spots) : "", terminal::bytes(p.held),
                     terminal::bytes(uint64_t(tile) * p.per_spot), p.limit ? fmt::format(", at most {}", terminal::bytes(p.limit)) : "");
}

}  // namespace stflow
