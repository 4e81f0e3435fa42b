// A trained model, whole: from a slide's features to expression. What a model file holds.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/novelty.h"
#include "model/residuals.h"
#include "model/ridge.h"
#include "model/scaling.h"

namespace stflow {

/// log(1 + counts) per spot and gene: the mean over draws and, for more than one draw, their standard deviation.
struct Prediction {
  std::vector<float> mean, sd;                // (n, G)
  std::vector<std::vector<float>> quantiles;  // each (n, G), as asked for
  std::vector<std::vector<float>> draws;      // each (n, G), if asked for
  int64_t tiles = 1, largest_tile = 0;        // in which it was computed; the latter in spots
};

/// How a slide is predicted, beyond what the model says. The result does not depend on the tiles.
struct PredictOptions {
  std::function<void()> each_draw = {};  // called after every draw of every tile; may throw to end it
  std::vector<double> quantiles = {};    // of the draws, in [0, 1]
  bool keep_draws = false;               // all of them
  std::vector<float> known = {};         // (n, G) log(1 + counts) where they are known, else NaN (in-painting); empty: nowhere
  int64_t most_spots = 0;                // that are computed together; 0: the whole slide
};

class Predictor {
 public:
  /// Declares the denoiser for config.denoiser and initialises each member's weights from config.seed, in the memory of the context's
  /// device, which then predicts.
  explicit Predictor(ModelConfig config, const Context& context = {});

  ModelConfig config;
  std::vector<std::string> genes;              // the panel, G names
  std::map<std::string, std::string> encoder;  // identity of the features this model was trained on, compared by predict
  FeaturePipeline pipeline;
  Standardizer targets;  // of log(1 + counts)
  Prior prior;
  Ridge expert;                    // on the pipeline's output, to scaled targets; empty without an expert
  Novelty novelty;                 // of the training spots, by which others are judged; files of before this have none
  std::vector<double> validation;  // G: each gene's Pearson correlation on left-out training spots, NaN if undefined; empty: not known
  Residuals residuals;             // on those spots; none if it is not known
  double blend = 1;                // share of the denoiser in the prediction; 1 - blend is the expert's

  /// The weights of one member; all have the same layout, so the one denoiser runs on any.
  [[nodiscard]] ParameterSet& parameters(int member = 0) { return *parameters_[size_t(member)]; }
  [[nodiscard]] const ParameterSet& parameters(int member = 0) const { return *parameters_[size_t(member)]; }
  [[nodiscard]] const Denoiser& denoiser() const { return *denoiser_; }

  /// Predicts a slide. Draws are keyed by (config.seed, draw) and by the spots' ranks: the same whatever else is predicted.
  /// Throws Exit::data when the slide's feature width is not the model's; Exit::memory when a single spot's prediction hangs on more than
  /// options.most_spots others.
  [[nodiscard]] Prediction predict(const Slide& slide, const PredictOptions& options = {}) const;
  /// How many edges away a spot may be on which another's prediction hangs: each evaluation of the flow looks `layers` edges far.
  [[nodiscard]] int64_t reach() const;
  /// What predict() takes per spot of a tile, in bytes, for a slide of n spots; the results come on top.
  [[nodiscard]] size_t bytes_per_spot(int64_t n, const PredictOptions& options) const;

  /// Writes the model file (safetensors: weights under the reference's names, scaling, prior, expert; config, genes and
  /// encoder as metadata). Atomic.
  void save(const std::string& path) const;
  static Predictor load(const std::string& path, const Context& context = {});

 private:
  void draw(const Slide& slide, const std::vector<float>& inputs, const Tile& tile, const Geometry& geometry, const PredictOptions& options,
            const std::function<void(const float*)>& take) const;
  void predict(const Slide& slide, const std::vector<float>& inputs, const Tile& tile, const Geometry& geometry,
               const PredictOptions& options, Prediction& whole) const;

  Context context_;
  std::vector<std::unique_ptr<ParameterSet>> parameters_;
  std::unique_ptr<Denoiser> denoiser_;
};

}  // namespace stflow
