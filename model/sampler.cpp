#include "model/sampler.h"

#include <cstring>

namespace stflow {

std::vector<double> sampling_times(int steps) {
  if (steps < 2) fail(Exit::usage, "--n-sample-steps: found {}, expected at least 2 (one evaluation)", steps);
  std::vector<double> t;
  for (int i = 0; i < steps; i++) t.push_back(0.01 + 0.99 * i / (steps - 1));
  return t;
}

Sampler::Sampler(const Denoiser& denoiser, const ParameterSet& parameters, Context context)
    : denoiser_(denoiser), parameters_(parameters), slide_tape_(context), step_tape_(context) {}

void Sampler::set_slide(const Tensor& features, const Geometry& geometry) {
  const int64_t n = features.shape[0], genes = denoiser_.config().genes;
  const DType type = features.type;
  Dropouts none;
  slide_tape_.reset();
  const Denoiser::Slide slide = denoiser_.slide(slide_tape_.input(features), slide_tape_.input(geometry.frames().values), none);
  slide_bytes_ = slide_tape_.plan(false);
  slide_tape_.bind(slide_arena_, parameters_);
  slide_tape_.forward();

  const size_t bytes = aligned(size_t(n * genes) * bytes_of(type));
  state_.reserve(2 * bytes + kAlign);
  auto* base = static_cast<char*>(state_.data());
  y_ = {base, {n, genes}, type};
  kept_ = {base + bytes, {n, genes}, type};  // Heun's first prediction
  time_ = {base + 2 * bytes, {1}, type};

  step_tape_.reset();
  Denoiser::Slide known{step_tape_.input(slide_tape_.value(slide.tokens)), {}};
  for (Var e : slide.edges) known.edges.push_back(step_tape_.input(slide_tape_.value(e)));
  prediction_ = denoiser_.step(step_tape_.input(y_), step_tape_.input(time_), known, geometry.graph(), none).prediction;
  step_bytes_ = step_tape_.plan(false);
  step_tape_.bind(step_arena_, parameters_);
}

Tensor Sampler::evaluate(double t) {
  by_type(time_.type, [&](auto zero) { *time_.as<decltype(zero)>() = decltype(zero)(t); });
  step_tape_.forward();
  return step_tape_.value(prediction_);
}

// The network predicts the end point x1; the velocity at (y, t) is (x1 - y) / (1 - t).
void Sampler::sample(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each) {
  const std::vector<double> times = sampling_times(steps);
  check(y.shape == y_.shape && y.type == y_.type, "sample: prior {}, expected {}", y.shape.text(), y_.shape.text());
  std::memcpy(y_.data, y.data, y.bytes());
  Tensor x1;
  for (int s = 0; s + 1 < steps; s++) {
    const double t = times[size_t(s)], dt = times[size_t(s) + 1] - t, next = t + dt;
    x1 = evaluate(t);
    if (each) each(s, x1);
    if (s + 2 == steps) break;
    by_type(y.type, [&](auto zero) {
      using T = decltype(zero);
      T *at = y_.as<T>(), *first = kept_.as<T>();
      const int64_t n = y_.size();
      const T a = T(dt / (1 - t));
      if (solver == Solver::euler) {
        for (int64_t i = 0; i < n; i++) at[i] += a * (x1.as<T>()[i] - at[i]);
        return;
      }
      for (int64_t i = 0; i < n; i++) first[i] = (x1.as<T>()[i] - at[i]) / T(1 - t);  // velocity at the start
      for (int64_t i = 0; i < n; i++) at[i] += T(dt) * first[i];
      const Tensor end = evaluate(next);
      for (int64_t i = 0; i < n; i++) {
        const T velocity = (end.as<T>()[i] - at[i]) / T(1 - next);
        at[i] += T(dt) * T(0.5) * (velocity - first[i]);
      }
    });
  }
  std::memcpy(y.data, x1.data, y.bytes());
}

}  // namespace stflow
