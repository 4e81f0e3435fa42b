// A trained model, whole: from a slide's features to expression. What a model file holds.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/novelty.h"
#include "model/ridge.h"
#include "model/scaling.h"

namespace stflow {

/// log(1 + counts) per spot and gene: the mean over draws and, for more than one draw, their standard deviation.
struct Prediction {
  std::vector<float> mean, sd;  // (n, G)
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
  Ridge expert;      // on the pipeline's output, to scaled targets; empty without an expert
  Novelty novelty;   // of the training spots, by which others are judged; files of before this have none
  double blend = 1;  // share of the denoiser in the prediction; 1 - blend is the expert's

  /// The weights of one member; all have the same layout, so the one denoiser runs on any.
  [[nodiscard]] ParameterSet& parameters(int member = 0) { return *parameters_[size_t(member)]; }
  [[nodiscard]] const ParameterSet& parameters(int member = 0) const { return *parameters_[size_t(member)]; }
  [[nodiscard]] const Denoiser& denoiser() const { return *denoiser_; }

  /// Predicts a slide. Draws are keyed by (config.seed, draw) and by the spots' ranks: the same whatever else is predicted.
  /// `each_draw`, if given, is called after every draw and may throw to end it.
  /// Throws Exit::data when the slide's feature width is not the model's.
  [[nodiscard]] Prediction predict(const Slide& slide, const std::function<void()>& each_draw = {}) const;
  /// Before blending, in scaled targets: mean and variance (n, G) over the draws of all members.
  void denoise(const Slide& slide, const std::vector<float>& inputs, std::vector<double>& mean, std::vector<double>& variance,
               const std::function<void()>& each_draw = {}) const;

  /// Writes the model file (safetensors: weights under the reference's names, scaling, prior, expert; config, genes and
  /// encoder as metadata). Atomic.
  void save(const std::string& path) const;
  static Predictor load(const std::string& path, const Context& context = {});

 private:
  Context context_;
  std::vector<std::unique_ptr<ParameterSet>> parameters_;
  std::unique_ptr<Denoiser> denoiser_;
};

}  // namespace stflow
