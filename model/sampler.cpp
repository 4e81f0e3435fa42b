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
    : denoiser_(denoiser), parameters_(parameters), slide_tape_(context), step_tape_(context), replays_(context) {
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
  geometry_ = &geometry, features_ = features.cols();
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

// Times do not change from run to run: they are sent once, so that no run copies from the host.
void Sampler::set_times(int steps, Solver solver) {
  const std::vector<double> grid = sampling_times(steps);
  std::vector<double> times;
  for (size_t s = 0; s + 1 < grid.size(); s++) {
    times.push_back(grid[s]);
    if (solver == Solver::heun && s + 2 < grid.size()) times.push_back(grid[s] + (grid[s + 1] - grid[s]));
  }
  if (times_ && times == evaluated_ && times_->type() == time_.type) return;
  evaluated_ = std::move(times);
  times_.emplace(Shape{int64_t(evaluated_.size())}, time_.type, step_tape_.context());
  by_type(time_.type, [&](auto zero) {
    for (size_t i = 0; i < evaluated_.size(); i++) times_->as<decltype(zero)>()[i] = decltype(zero)(evaluated_[i]);
  });
  times_->send();
}

Tensor Sampler::evaluate(int64_t evaluation) {
  const Context& c = step_tape_.context();
  const size_t bytes = bytes_of(time_.type);
  copy(c.device, time_.data, c.device, static_cast<const char*>(Tensor(*times_).data) + size_t(evaluation) * bytes, bytes, c.stream);
  step_tape_.forward();
  return step_tape_.value(prediction_);
}

void Sampler::sample(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each, const Tensor& known) {
  check(y.shape == y_.shape && y.type == y_.type, "sample: prior {}, expected {}", y.shape.text(), y_.shape.text());
  set_times(steps, solver);
  if (each || step_tape_.watched()) return walk(y, steps, solver, each, known);
  const Graph& graph = geometry_->graph();
  replays_.run(
      "sampling",
      {uint64_t(steps), uint64_t(solver), uint64_t(graph.n), uint64_t(graph.k), uint64_t(geometry_->frames().values.size()),
       address(graph.idx.data), address(graph.distance.data), address(graph.reverse_start.data), address(graph.reverse.data),
       address(slide_arena_.data()), address(step_arena_.data()), address(state_.data()), address(Tensor(*times_).data), address(y.data),
       address(known.data), uint64_t(features_)},
      [] {}, [&] { walk(y, steps, solver, {}, known); });
}

void Sampler::walk(const Tensor& y, int steps, Solver solver, const std::function<void(int, Tensor)>& each, const Tensor& known) {
  const std::vector<double> times = sampling_times(steps);
  const Context c = step_tape_.context();
  copy(c.device, y_.data, c.device, y.data, y.bytes(), c.stream);
  // y keeps the prior draw until the last step.
  const auto hold = [&](double t, const Tensor& at) {
    if (known.data) on(c, [&](auto b) { hold_known(b, t, known, y, at); });
  };
  int64_t evaluation = 0;
  for (int s = 0; s + 1 < steps; s++) {
    const double t = times[size_t(s)], dt = times[size_t(s) + 1] - t;
    hold(t, y_);
    const Tensor x1 = evaluate(evaluation++);
    if (each) each(s, x1);
    if (s + 2 == steps) {
      hold(1, x1);
      copy(c.device, y.data, c.device, x1.data, y.bytes(), c.stream);
    } else if (solver == Solver::euler) {
      on(c, [&](auto b) { euler_step(b, t, dt, x1, y_); });
    } else {
      on(c, [&](auto b) { heun_predict(b, t, dt, x1, y_, kept_); });
      hold(t + dt, y_);
      const Tensor end = evaluate(evaluation++);
      on(c, [&](auto b) { heun_correct(b, t, dt, end, kept_, y_); });
    }
  }
}

}  // namespace stflow
