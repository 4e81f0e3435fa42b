// Trains a denoiser by flow matching (STFLOW.md 6, 8, 9): one call of step() is one optimiser step.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "model/denoiser.h"
#include "model/prior.h"
#include "model/training_items.h"
#include "ops/adamw.h"
#include "ops/slot_sum.h"

namespace stflow {

struct TrainingConfig {
  int64_t steps = 200;
  int batch = 1;  // items (slots) of a step
  ItemLaw item = ItemLaw::whole;
  int repeats = 1;  // items of one slide in a row
  bool shuffle = true;
  AdamOptions adam{.lr = 2e-3, .ema_decay = 0.99};
  double warmup = 0.1;  // share of the steps; 0: none
  bool cosine = true;   // to 0 over the steps; false: constant
};

/// What one step did.
struct StepReport {
  int64_t step = 0;  // counted from 1
  double loss = 0;   // mean squared error per entry, in the targets' units
  double grad_norm = 0, lr = 0;
  int64_t spots = 0;
};

class Trainer {
 public:
  /// All references must stay. `parameters` is allocated (on the context's device) and initialised; slides hold inputs and targets.
  Trainer(const Denoiser& denoiser, ParameterSet& parameters, const std::vector<TrainingSlide>& slides, const GeometryConfig& geometry,
          const Prior& prior, const Standardizer& targets, const TrainingConfig& config, uint64_t seed, Context context = {});

  /// One optimiser step on config.batch items: t ~ U(0, 1) and a fresh prior draw each; gradients are sums over spots, slots are
  /// added in one fixed binary tree and divided by the number of spots. Throws Exit::data naming step, slide, op, layer,
  /// shape and index when a loss or gradient is not finite; the weights are then as before the step.
  StepReport step();
  [[nodiscard]] int64_t steps_done() const { return optimizer_.step; }
  [[nodiscard]] bool done() const { return steps_done() >= config_.steps; }

  /// Arena bytes that the largest slide needs: known before anything runs.
  [[nodiscard]] size_t arena_bytes() const { return arena_bytes_; }
  /// What a checkpoint holds besides the weights. Writing into it (and into the weights) resumes: step is the steps done.
  [[nodiscard]] OptimizerState& state() { return optimizer_; }
  [[nodiscard]] const OptimizerState& state() const { return optimizer_; }
  /// Replaces the weights by their running average, if one is kept.
  void use_average();
  [[nodiscard]] Tape& tape() { return tape_; }

 private:
  /// An item's numbers in the memory of the device.
  struct Data {
    Tensor inputs, targets, ranks;
  };

  Data prepare(int slot);
  void run(const Data& data, int slot, const Tensor& grads);
  [[nodiscard]] size_t losses_bytes() const { return aligned(size_t(config_.batch + 1) * sizeof(float)); }
  [[noreturn]] void name_non_finite(double loss, double norm);

  const Denoiser& denoiser_;
  ParameterSet& parameters_;
  const std::vector<TrainingSlide>& slides_;
  const GeometryConfig geometry_config_;
  const PriorSampler prior_;
  const TrainingConfig config_;
  const uint64_t seed_;
  ItemOrder order_;
  OptimizerState optimizer_;
  SlotSum sum_;
  std::vector<std::unique_ptr<Geometry>> geometries_;  // of whole slides
  std::vector<Array> resident_;                        // of whole slides on a device: inputs, targets and ranks of each
  Item item_;
  Tape tape_;
  Storage arena_, flow_, disc_;  // flow_: the losses of the slots and t, then Y_t; disc_: a disc's numbers on a device
  size_t arena_bytes_ = 0;
  std::vector<float> losses_;
};

}  // namespace stflow
