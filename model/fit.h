// Fitting a predictor to sections: what is chosen is chosen on held-out training sections, then everything is trained again
// on all of them. A fit is a machine of optimiser steps that can be saved and resumed at any step.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "model/folds.h"
#include "model/predictor.h"
#include "model/trainer.h"

namespace stflow {

/// A fold's held-out predictions, in log(1 + counts).
struct FoldResult {
  std::string held_out;                        // sample name(s)
  std::vector<float> truth, denoiser, expert;  // (n, G)
};

/// A checkpoint whose bytes are not what was written: the one before it may still be whole.
struct DamagedFile : Error {
  using Error::Error;
};

/// What the folds decided.
struct Selection {
  double lambda = 0;                // penalty of the expert; 0 without one
  double blend = 1;                 // share of the denoiser
  double pearson = 0;               // mean over folds of the mean over genes, at these values; NaN without folds
  double expert = 0, denoiser = 0;  // the same for each part alone
};

class Fit {
 public:
  /// `train` (with counts) and `val` must stay. With validation slides one model is trained, and judged on them. Without, and
  /// with an expert to blend: leave-one-section-out over at most five folds (spatial quarters of the section if there is one).
  /// config.training.steps is set from config.epochs. `ranks` and `reduce` as of Trainer: all ranks hold the same fit and step together.
  Fit(ModelConfig config, std::vector<std::string> genes, const std::vector<Slide>& train, const std::vector<Slide>& val,
      const Context& context = {}, Communicator& ranks = alone(), Reduce reduce = Reduce::ordered);
  ~Fit();

  /// Stages to train: every member of the model, for each fold and for the final model.
  [[nodiscard]] int stages() const { return int(stages_.size()) * config_.members; }
  [[nodiscard]] int stage() const { return stage_; }
  [[nodiscard]] std::string stage_name() const;
  [[nodiscard]] int64_t steps_per_stage() const { return config_.training.steps; }
  [[nodiscard]] int64_t steps_in_stage() const;  // done
  [[nodiscard]] size_t arena_bytes() const;
  [[nodiscard]] const ModelConfig& config() const { return config_; }

  /// One optimiser step; the last of a stage also ends it. False, doing nothing, once all is done.
  bool step(StepReport& report);
  /// The model in training, as its weights stand.
  [[nodiscard]] const Predictor& current() const;
  [[nodiscard]] const std::vector<FoldResult>& results() const { return results_; }
  [[nodiscard]] const Selection& selection() const { return selection_; }
  /// The finished model, once step() has returned false.
  Predictor take();

  /// All state to one file, atomically. load() throws DamagedFile for a file that is not whole, Error for one of another
  /// configuration, data set, format or numerics (engine/version.h).
  void save(const std::string& path) const;
  void load(const std::string& path);
  [[nodiscard]] Trainer& trainer();
  /// Of sections, features and genes.
  [[nodiscard]] std::string data_hash() const;

 private:
  struct Stage;

  [[nodiscard]] const Fold& fold() const { return stages_[size_t(stage_ / config_.members)]; }
  [[nodiscard]] int member() const { return stage_ % config_.members; }
  void begin_fold();
  void finish();
  void judge_fold();
  void choose_blend();
  [[nodiscard]] const OptimizerState& optimizer() const;
  [[nodiscard]] Predictor& model();
  void restart_at(int stage);

  ModelConfig config_;
  const Context context_;  // where everything is trained
  Communicator& ranks_;
  const Reduce reduce_;
  const std::vector<std::string> genes_;
  const Folds folds_;
  std::vector<Fold> stages_;  // the folds to train for, then, unless there are validation slides, everything
  int stage_ = 0;             // counts members: fold stage_ / members
  std::unique_ptr<Stage> now_;
  std::vector<FoldResult> results_;
  Selection selection_;
};

}  // namespace stflow
