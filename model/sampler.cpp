#include "model/sampler.h"

#include "ops/flow.h"

namespace stflow {

std::vector<double> sampling_times(int steps) {
  if (steps < 2) fail(Exit::usage, "--n-sample-steps: found {}, expected at least 2 (one evaluation)", steps);
  std::vector<double> t;
  for (int i = 0; i < steps; i++) t.push_back(0.01 + 0.99 * i / (steps - 1));
  return t;
}

Sampler::Sampler(const Denoiser& denoiser, const ParameterSet& parameters, Context context)
    : denoiser_(denoiser), parameters_(parameters), slide_tape_(context), step_tape_(context) {
  for (Storage* s : {&slide_arena_, &step_arena_, &state_}) *s = Storage(0, context.device);
}

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
  by_type(time_.type, [&](auto zero) {
    const auto at = decltype(zero)(t);
    const Context& c = step_tape_.context();
    copy(c.device, time_.data, Device::cpu, &at, sizeof at, c.stream);
  });
  step_tape_.forward();
  return step_tape_.value(prediction_);
}

void Sampler::sample(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each) {
  const std::vector<double> times = sampling_times(steps);
  check(y.shape == y_.shape && y.type == y_.type, "sample: prior {}, expected {}", y.shape.text(), y_.shape.text());
  const Context c = step_tape_.context();
  copy(c.device, y_.data, c.device, y.data, y.bytes(), c.stream);
  for (int s = 0; s + 1 < steps; s++) {
    const double t = times[size_t(s)], dt = times[size_t(s) + 1] - t;
    const Tensor x1 = evaluate(t);
    if (each) each(s, x1);
    if (s + 2 == steps) {
      copy(c.device, y.data, c.device, x1.data, y.bytes(), c.stream);
    } else if (solver == Solver::euler) {
      on(c, [&](auto b) { euler_step(b, t, dt, x1, y_); });
    } else {
      on(c, [&](auto b) { heun_predict(b, t, dt, x1, y_, kept_); });
      const Tensor end = evaluate(t + dt);
      on(c, [&](auto b) { heun_correct(b, t, dt, end, kept_, y_); });
    }
  }
}

}  // namespace stflow
