// Predicting with a trained model: draws, tile by tile, and what is made of them.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "model/metrics.h"
#include "model/predictor.h"

namespace stflow {
namespace {

/// Sums over the draws of one tile's own spots.
struct Draws {
  size_t entries;
  bool keep;  // the draws themselves
  std::vector<double> mean, square;
  std::vector<std::vector<float>> values;
  int done = 0;

  Draws(size_t entries_, bool keep_) : entries(entries_), keep(keep_), mean(entries, 0.0), square(entries, 0.0) {}
  /// Welford: mean and sum of squared deviations.
  void add(const float* y) {
    done++;
    for (size_t i = 0; i < entries; i++) {
      const double d = double(y[i]) - mean[i];
      mean[i] += d / done;
      square[i] += d * (double(y[i]) - mean[i]);
    }
    if (keep) values.emplace_back(y, y + entries);
  }
  [[nodiscard]] double variance(size_t i) const { return done > 1 ? square[i] / (done - 1) : 0; }
};

template <class T> std::vector<T> rows_of(const std::vector<T>& all, size_t width, const std::vector<int32_t>& rows) {
  std::vector<T> some(rows.size() * width);
  for (size_t i = 0; i < rows.size(); i++) std::copy_n(all.data() + size_t(rows[i]) * width, width, some.data() + i * width);
  return some;
}

}  // namespace

int64_t Predictor::reach() const {
  const int64_t evaluations = config.solver == Solver::euler ? config.sample_steps - 1 : 2 * (config.sample_steps - 1) - 1;
  return evaluations * config.denoiser.layers;
}

size_t Predictor::bytes_per_spot(int64_t n, const PredictOptions& options) const {
  const int64_t some = std::clamp<int64_t>(n, 1, 4096), k = std::min<int64_t>(config.geometry.neighbors, some - 1);
  Graph graph;
  graph.resize(some, int(k));
  Frames frames;
  frames.resize(1, int(k), 8, DType::f32);
  Tensor each_frame = frames.values;  // a shape; nothing is read
  each_frame.shape = {some, k, 8, 3};
  float nothing = 0;
  Sampler sampler(*denoiser_, *parameters_[0]);
  const size_t arenas = sampler.plan({&nothing, {some, config.denoiser.features}, DType::f32}, each_frame, graph);
  const auto f = size_t(config.denoiser.features), g = size_t(config.denoiser.genes);
  const size_t lists = size_t(k) * (8 * 3 * sizeof(float) + sizeof(int32_t) * 2 + sizeof(double));
  const size_t kept = options.quantiles.empty() && !options.keep_draws ? 0 : size_t(config.samples + config.members) * sizeof(float);
  return arenas / size_t(some) + f * sizeof(float) + lists + g * (8 * sizeof(double) + kept);
}

void Predictor::draw(const Slide& slide, const std::vector<float>& inputs, const Tile& tile, const Geometry& geometry,
                     const PredictOptions& options, const std::function<void(const float*)>& take) const {
  const int64_t n = tile.size(), g = config.denoiser.genes;
  const auto there = [&](Tensor t) { return copy_of(t, Device::cpu, context_.device); };
  std::vector<int32_t> rank = rows_of(slide.rank, 1, tile.spots);
  std::vector<float> held = options.known.empty() ? std::vector<float>() : rows_of(options.known, size_t(g), tile.spots);
  targets.apply(held);
  const Tensor here{const_cast<float*>(inputs.data()), {n, config.denoiser.features}, DType::f32};
  const Array copied = context_.device == Device::cpu ? Array() : there(here);
  const Array ranks = there({rank.data(), {n}, DType::i32}), y({n, g}, DType::f32, context_.device);
  std::optional<Array> known;
  if (!held.empty()) known = there({held.data(), {n, g}, DType::f32});
  const PriorSampler start(prior, targets, context_);
  // Two, so that a GPU goes on to the next draw while the host takes one.
  Returned own[] = {{{tile.own, g}, DType::f32, context_}, {{tile.own, g}, DType::f32, context_}};
  const int most = context_.device == Device::cpu ? 1 : 2;
  int begun = 0, taken = 0;
  const auto take_next = [&] {
    const Returned& next = own[taken++ % 2];
    next.wait();
    take(next.as<float>());
    if (options.each_draw) options.each_draw();
  };
  const int members = config.members, draws = (config.samples + members - 1) / members;
  for (int m = 0; m < members; m++) {
    Sampler sampler(*denoiser_, *parameters_[size_t(m)], context_);
    sampler.set_slide(context_.device == Device::cpu ? here : copied.tensor(), geometry);
    for (int s = 0; s < draws; s++) {
      start.sample(ranks, RandomKey(config.seed, Stream::prior, 0xffffffffu, uint32_t(m * draws + s)), y);
      sampler.sample(y, config.sample_steps, config.solver, {}, known ? known->tensor() : Tensor{});
      own[begun++ % 2].fetch(view(y.as<float>(), {tile.own, g}));
      if (begun - taken == most) take_next();
    }
    while (taken < begun) take_next();
  }
}

// The tile's own rows of the slide's prediction.
void Predictor::predict(const Slide& slide, const std::vector<float>& inputs, const Tile& tile, const Geometry& geometry,
                        const PredictOptions& options, Prediction& whole) const {
  const size_t g = genes.size(), entries = size_t(tile.own) * g;
  const bool quantiles = !options.quantiles.empty();
  Draws draws(entries, quantiles || options.keep_draws);
  if (blend > 0) draw(slide, inputs, tile, geometry, options, [&](const float* y) { draws.add(y); });
  std::vector<double> linear(blend < 1 ? entries : 0);
  if (blend < 1) {
    const Tensor own{const_cast<float*>(inputs.data()), {tile.own, config.denoiser.features}, DType::f32};
    expert.predict(own, {linear.data(), {tile.own, int64_t(g)}, DType::f64});
  }
  const auto blended = [&](double value, size_t i) { return float(blend < 1 ? blend * value + (1 - blend) * linear[i] : value); };
  const auto put = [&](std::vector<float>& into, std::vector<float> own) {
    targets.undo(own);
    for (size_t s = 0; s < size_t(tile.own); s++)
      for (size_t i = 0; i < g; i++) {
        // What is known is that, not a mean of draws that all end there.
        const size_t at = size_t(tile.spots[s]) * g + i;
        const bool known = !options.known.empty() && !std::isnan(options.known[at]);
        into[at] = known ? options.known[at] : own[s * g + i];
      }
  };

  std::vector<float> own(entries);
  for (size_t i = 0; i < entries; i++) own[i] = blended(draws.mean[i], i);
  put(whole.mean, own);
  for (size_t s = 0; s < size_t(tile.own); s++)
    for (size_t i = 0; i < g; i++) {
      float sd = float(blend * std::sqrt(draws.variance(s * g + i)));
      if (targets.active()) sd *= float(targets.sd[i]);
      whole.sd[size_t(tile.spots[s]) * g + i] = sd;
    }
  for (size_t d = 0; d < draws.values.size() && options.keep_draws; d++) {
    for (size_t i = 0; i < entries; i++) own[i] = blended(double(draws.values[d][i]), i);
    put(whole.draws[d], own);
  }
  if (!quantiles) return;
  std::vector<std::vector<float>> of(options.quantiles.size(), std::vector<float>(entries));
  std::vector<double> sorted(draws.values.size());
  for (size_t i = 0; i < entries; i++) {
    for (size_t d = 0; d < sorted.size(); d++) sorted[d] = double(draws.values[d][i]);
    std::sort(sorted.begin(), sorted.end());
    for (size_t q = 0; q < of.size(); q++)
      of[q][i] = blended(sorted.empty() ? 0 : quantile_of_sorted(sorted.data(), int64_t(sorted.size()), options.quantiles[q]), i);
  }
  for (size_t q = 0; q < of.size(); q++) put(whole.quantiles[q], std::move(of[q]));
}

Prediction Predictor::predict(const Slide& slide, const PredictOptions& options) const {
  if (pipeline.inputs(slide.dim) != config.denoiser.features)
    fail(Exit::data, "{}: features of width {}, expected {} as in training", slide.name, slide.dim,
         config.denoiser.features / int64_t(1 + pipeline.surroundings.size()));
  const size_t entries = size_t(slide.size()) * genes.size();
  check(options.known.empty() || options.known.size() == entries, "predict: {} known values of {}", options.known.size(), entries);
  Prediction p;
  const auto make_room = [&] {
    p.mean.resize(entries), p.sd.resize(entries);
    p.quantiles.assign(options.quantiles.size(), std::vector<float>(entries));
    const int draws = blend > 0 ? (config.samples + config.members - 1) / config.members * config.members : 0;
    if (options.keep_draws) p.draws.assign(size_t(draws), std::vector<float>(entries));
  };
  Geometry geometry(context_);
  if (options.most_spots == 0 || options.most_spots >= slide.size()) {
    Tile all;
    all.spots.resize(size_t(slide.size()));
    std::iota(all.spots.begin(), all.spots.end(), 0);
    all.own = all.inner = slide.size();
    geometry.build(slide.coords(), slide.ranks(), config.geometry, DType::f32);
    make_room();
    predict(slide, pipeline.apply(slide), all, geometry, options, p);
    p.largest_tile = slide.size();
    return p;
  }
  const Tensor coords = slide.coords();
  const WholeGeometry whole(coords, slide.ranks(), config.geometry);
  const Surroundings around = pipeline.surroundings_of(slide);
  p.tiles = 0;
  make_room();  // after the lists, which take more while they are made
  Tiles(coords, whole.graph, reach()).each(options.most_spots, [&](const Tile& tile) {
    if (tile.size() > options.most_spots)
      fail(Exit::memory,
           "{}: {} spots decide on one, expected at most {}, which the memory allows; raise --max-mem or lower --n-sample-steps",
           slide.name, tile.size(), options.most_spots);
    geometry.build(whole, tile, config.geometry, DType::f32);
    predict(slide, pipeline.apply(slide, around, tile.spots), tile, geometry, options, p);
    p.tiles++;
    p.largest_tile = std::max(p.largest_tile, tile.size());
  });
  return p;
}

}  // namespace stflow
