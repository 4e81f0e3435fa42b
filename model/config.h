// The choices that make a model: two presets (reference: as the authors' code; default: ours), kept in every model file.
#pragma once
#include <string>
#include <vector>

#include "engine/json.h"
#include "model/denoiser.h"
#include "model/geometry.h"
#include "model/prior.h"
#include "model/sampler.h"
#include "model/trainer.h"

namespace stflow {

inline constexpr int kMostMembers = 64;

struct ModelConfig {
  std::string preset = "default";
  DenoiserConfig denoiser;  // features: inputs after the pipeline
  GeometryConfig geometry;
  PriorKind prior = PriorKind::zinb;
  TrainingConfig training;
  double epochs = 50;                // passes over the training items; gives training.steps
  bool standardize_features = true;  // to mean 0, sd 1 over training spots, cut at 3 sd
  bool standardize_targets = true;   // to mean 0, sd 1 over training spots
  std::vector<int> surroundings;     // extra inputs: mean features over the k nearest spots, for each k
  bool expert = true;                // a linear expert beside the denoiser, mixed in by `blend`, both chosen on validation
  int sample_steps = 5;              // points of the sampling grid
  int members = 3;                   // denoisers trained from different seeds, whose predictions are averaged
  int samples = 8;                   // draws that are averaged, over all members
  Solver solver = Solver::euler;
  uint64_t seed = 1;
};

/// "default" or "reference". Throws Exit::usage for anything else.
ModelConfig preset(const std::string& name);

/// Throws Exit::usage for sizes that no model can have, whatever its data: check_sizes() of the denoiser, and neighbours x heads.
void check_sizes(const ModelConfig&);

/// What a model file keeps and a reader checks. from_json throws Exit::data naming `file` and the key.
Json to_json(const ModelConfig&);
ModelConfig config_from_json(const Json&, const std::string& file);

}  // namespace stflow
