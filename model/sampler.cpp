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

Denoiser::Slide Sampler::record_slide(const Tensor& features, const Tensor& frames) {
  Dropouts none;
  slide_tape_.reset();
  const Denoiser::Slide slide = denoiser_.slide(slide_tape_.input(features), slide_tape_.input(frames), none);
  slide_bytes_ = slide_tape_.plan(false);
  return slide;
}

void Sampler::record_step(const Denoiser::Slide& slide, const Graph& graph) {
  Dropouts none;
  step_tape_.reset();
  Denoiser::Slide known{step_tape_.input(slide_tape_.value(slide.tokens)), {}};
  for (Var e : slide.edges) known.edges.push_back(step_tape_.input(slide_tape_.value(e)));
  prediction_ = denoiser_.step(step_tape_.input(y_), step_tape_.input(time_), known, graph, none).prediction;
  step_bytes_ = step_tape_.plan(false);
}

size_t Sampler::plan(const Tensor& features, const Tensor& frames, const Graph& graph) {
  const Denoiser::Slide slide = record_slide(features, frames);
  y_ = {nullptr, {graph.n, denoiser_.config().genes}, features.type}, time_ = {nullptr, {1}, features.type};
  record_step(slide, graph);
  return arena_bytes();
}

void Sampler::set_slide(const Tensor& features, const Geometry& geometry) {
  const int64_t n = features.shape[0], genes = denoiser_.config().genes;
  const DType type = features.type;
  const Denoiser::Slide slide = record_slide(features, geometry.frames().values);
  slide_tape_.bind(slide_arena_, parameters_);
  slide_tape_.forward();

  const size_t bytes = aligned(size_t(n * genes) * bytes_of(type));
  state_.reserve(2 * bytes + kAlign);
  auto* base = static_cast<char*>(state_.data());
  y_ = {base, {n, genes}, type};
  kept_ = {base + bytes, {n, genes}, type};  // Heun's first prediction
  time_ = {base + 2 * bytes, {1}, type};
  record_step(slide, geometry.graph());
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

void Sampler::sample(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each, const Tensor& known) {
  const std::vector<double> times = sampling_times(steps);
  check(y.shape == y_.shape && y.type == y_.type, "sample: prior {}, expected {}", y.shape.text(), y_.shape.text());
  const Context c = step_tape_.context();
  copy(c.device, y_.data, c.device, y.data, y.bytes(), c.stream);
  // y keeps the prior draw until the last step.
  const auto hold = [&](double t, const Tensor& at) {
    if (known.data) on(c, [&](auto b) { hold_known(b, t, known, y, at); });
  };
  for (int s = 0; s + 1 < steps; s++) {
    const double t = times[size_t(s)], dt = times[size_t(s) + 1] - t;
    hold(t, y_);
    const Tensor x1 = evaluate(t);
    if (each) each(s, x1);
    if (s + 2 == steps) {
      hold(1, x1);
      copy(c.device, y.data, c.device, x1.data, y.bytes(), c.stream);
    } else if (solver == Solver::euler) {
      on(c, [&](auto b) { euler_step(b, t, dt, x1, y_); });
    } else {
      on(c, [&](auto b) { heun_predict(b, t, dt, x1, y_, kept_); });
      hold(t + dt, y_);
      const Tensor end = evaluate(t + dt);
      on(c, [&](auto b) { heun_correct(b, t, dt, end, kept_, y_); });
    }
  }
}

}  // namespace stflow
