// Trains a denoiser by flow matching (STFLOW.md 6, 8, 9): one call of step() is one optimiser step.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/distributed/communicator.h"
#include "engine/distributed/plan.h"
#include "engine/replays.h"
#include "model/buckets.h"
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

/// How the gradients of several ranks become one.
enum class Reduce {
  ordered,    // in the tree of one rank: the bits do not depend on how many ranks there are
  fast,       // in the order of the communicator, when a rank's slots are done
  overlapped  // the same, on GPUs each part as soon as it is final, while the backward pass of the last slot goes on: the same bits as fast
};

/// A rank by itself.
Communicator& alone();

/// What one step did.
struct StepReport {
  int64_t step = 0;  // counted from 1
  double loss = 0;   // mean squared error per entry, in the targets' units
  double grad_norm = 0, lr = 0;
  int64_t spots = 0;
};

class Trainer {
 public:
  /// All references must stay. `ranks`: who shares the slots of each step; all of them have the same of everything else, and keep it.
  /// `parameters` is allocated (on the context's device) and initialised; slides hold inputs and targets.
  Trainer(const Denoiser& denoiser, ParameterSet& parameters, const std::vector<TrainingSlide>& slides, const GeometryConfig& geometry,
          const Prior& prior, const Standardizer& targets, const TrainingConfig& config, uint64_t seed, Context context = {},
          Communicator& ranks = alone(), Reduce reduce = Reduce::ordered);

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
  /// The graphs of a GPU: those of each shape and slot, and the optimiser's.
  [[nodiscard]] const Replays& replays() const { return replays_; }

 private:
  /// What a slot has of its own in each step, in the memory of the device: no launch has it as an argument.
  struct Now {
    KeyPlace place;  // of the prior's and the dropouts' keys
    float time, spots;
  };

  [[nodiscard]] int64_t slide_of(int slot, int64_t step) const { return order_.slide_of(step * config_.batch + slot); }
  [[nodiscard]] int64_t slide_of(int slot) const { return slide_of(slot, steps_done()); }
  [[nodiscard]] RandomKey disc_key(int slot, int64_t step) const { return {seed_, Stream::item, uint32_t(step), uint32_t(slot) + 2}; }
  [[nodiscard]] int64_t spots_of(int slot) const;
  [[nodiscard]] SlotRange own_slots() const { return slots_of(config_.batch, ranks_.rank(), ranks_.size()); }
  const Item& prepare(int slot);
  void choose_next();
  void tell(int slot, int64_t spots);
  [[nodiscard]] bool in_graphs() const;
  void run(const Item& item, int slot, const Tensor& sums, const std::function<void(size_t bucket)>& finished = {});
  void run_slots(int begin, int end);
  Tensor sum_slots();
  Tensor sum_over_ranks();
  Tensor sum_by_parts(SlotRange own);
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
  Communicator& ranks_;
  const Reduce reduce_;
  std::vector<Bucket> buckets_;  // on GPUs, unless in order
  int planned_ = 0;              // nodes of the program that they belong to
  SlotSum sum_;                  // of each slot: the gradients, the number of spots, then the squared error in the slot's place of a step's
  Array mine_, all_;             // of several ranks: this one's nodes of the tree, and everyone's
  std::vector<Tensor> nodes_;    // in all_
  std::vector<int> levels_;
  std::vector<std::unique_ptr<ResidentSlide>> resident_;
  std::vector<std::unique_ptr<Item>> items_;  // of each slot
  Tape tape_;
  Storage arena_, flow_;  // flow_: Now, then Y_t
  Storage told_;          // the host's side of Now, of each slot
  size_t arena_bytes_ = 0;
  Returned losses_;
  Replays replays_;
};

}  // namespace stflow
