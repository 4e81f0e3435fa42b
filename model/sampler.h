// Sampling: Euler (or Heun) steps along the flow from the prior to expression (STFLOW.md 7).
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "engine/replays.h"
#include "model/denoiser.h"
#include "model/geometry.h"

namespace stflow {

enum class Solver { euler, heun };

/// The reference's grid linspace(0.01, 1, steps), steps >= 2: steps - 1 evaluations, the last one's prediction is the sample.
std::vector<double> sampling_times(int steps);

/// Runs a denoiser on one slide at a time. What depends on the slide alone is computed once by set_slide(); memory is kept
/// between slides.
class Sampler {
 public:
  /// Keeps references to both. `context` chooses the back end.
  Sampler(const Denoiser& denoiser, const ParameterSet& parameters, Context context = {});

  /// features (n, F); both must outlive the samples of this slide. They, and y of sample(), are in the memory of the context's device.
  void set_slide(const Tensor& features, const Geometry& geometry);
  /// One draw: y (n, G) holds the prior sample and receives the prediction. `each`, if given, sees every evaluation's prediction.
  /// `known` (n, G), if it has data: end points that are given (in-painting), NaN where none is; these entries walk the straight path from
  /// their prior draw to it, whatever is predicted for them, and all others see them on it.
  void sample(const Tensor& y, int steps, Solver solver = Solver::euler, const std::function<void(int, Tensor)>& each = {},
              const Tensor& known = {});
  /// Bytes of the two arenas for a slide of these shapes; no numbers are read.
  size_t plan(const Tensor& features, const Tensor& frames, const Graph& graph);
  /// Bytes of the two arenas for the slide set last.
  [[nodiscard]] size_t arena_bytes() const { return slide_bytes_ + step_bytes_; }
  /// The graphs of a GPU: sample() without `each` is one, for a slide's shapes and the same y, steps, solver and known.
  [[nodiscard]] const Replays& replays() const { return replays_; }

 private:
  Denoiser::Slide record_slide(const Tensor& features, const Tensor& frames);
  void record_step(const Denoiser::Slide& slide, const Graph& graph);
  void set_times(int steps, Solver solver);
  Tensor evaluate(int64_t evaluation);
  void walk(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each, const Tensor& known);

  const Denoiser& denoiser_;
  const ParameterSet& parameters_;
  Tape slide_tape_, step_tape_;
  Storage slide_arena_, step_arena_, state_;
  size_t slide_bytes_ = 0, step_bytes_ = 0;
  Tensor y_, time_, kept_;
  Var prediction_;
  const Geometry* geometry_ = nullptr;  // of the slide set last
  int64_t features_ = 0;
  std::vector<double> evaluated_;  // the times of a run's evaluations
  std::optional<Staged> times_;    // the same where the device reads them
  Replays replays_;
};

}  // namespace stflow
