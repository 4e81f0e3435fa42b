#include "model/golden.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "model/denoiser.h"
#include "model/sampler.h"
#include "ops/adamw.h"
#include "ops/mse.h"

namespace stflow {
namespace {

// A gradient this much smaller than the whole is rounding: its parameter has no influence on the loss.
constexpr double kNoInfluence = 1e-9;

std::vector<double> numbers(const Tensor& t) {
  std::vector<double> v;
  by_type(t.type, [&](auto zero) { v.assign(t.as<decltype(zero)>(), t.as<decltype(zero)>() + t.size()); });
  return v;
}

double norm(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += x * x;
  return std::sqrt(s);
}

struct Check {
  const SafeTensors& file;
  const DType type;
  const Context context;
  std::vector<GoldenLine> lines;
  std::vector<Array> memory;

  Check(const SafeTensors& f, DType t, Context c) : file(f), type(t), context(c) {}

  // A tensor of the file as a tape input of shape (rows, cols).
  Tensor read(const std::string& name, Shape shape, DType as) {
    memory.emplace_back(shape, as);
    const std::vector<double> v = file.read<double>(name);
    if (int64_t(v.size()) != shape.size())
      fail(Exit::data, "{}: {}: {} numbers, expected shape {}", file.path(), name, v.size(), shape.text());
    const Tensor t = memory.back();
    by_type(as, [&](auto zero) {
      for (size_t i = 0; i < v.size(); i++) t.as<decltype(zero)>()[i] = decltype(zero)(v[i]);
    });
    return t;
  }

  // `scale` > 0 replaces the golden norm where that is smaller.
  void compare(const std::string& name, const std::vector<double>& got, double scale = 0) {
    const std::vector<double> want = file.read<double>(name);
    if (want.size() != got.size()) fail(Exit::data, "{}: {}: {} numbers, expected {}", file.path(), name, want.size(), got.size());
    std::vector<double> difference(want.size());
    for (size_t i = 0; i < want.size(); i++) difference[i] = got[i] - want[i];
    const double size = std::max(norm(want), scale);
    lines.push_back({name, size > 0 ? norm(difference) / size : norm(difference)});
  }
  // `got` is in the memory of the device, as is everything below.
  void compare(const std::string& name, const Tensor& got, double scale = 0) {
    compare(name, numbers(copy_of(got, context.device, Device::cpu)), scale);
  }
  Tensor there(const Tensor& host) {
    memory.push_back(copy_of(host, Device::cpu, context.device));
    return memory.back();
  }

  void geometry(const Geometry& g, int64_t n) {
    const auto k = int64_t(g.graph().k);
    const Array idx = copy_of(g.graph().idx, context.device, Device::cpu);
    const auto want = file.read<int64_t>("knn.indices");
    int64_t wrong = int64_t(want.size()) == n * k ? 0 : n * k;
    for (int64_t i = 0; wrong == 0 && i < n * k; i++) wrong += idx.as<int32_t>()[i] != want[size_t(i)];
    lines.push_back({"knn.indices", double(wrong) / double(n * k)});
    std::vector<double> projection, distance;
    const std::vector<double> f = numbers(copy_of(g.frames().values, context.device, Device::cpu));
    for (int64_t e = 0; e < n * k; e++) {
      for (int64_t j = 0; j < 2; j++) projection.push_back(std::fabs(f[size_t((e * g.frames().count) * 3 + j)]));
      distance.push_back(f[size_t((e * g.frames().count) * 3 + 2)]);
    }
    compare("frames.abs_projection", projection);
    compare("frames.distance", distance);
  }
};

int64_t whole(const Json& j, const SafeTensors& f, const char* key) {
  if (!j.is_object() || !j.contains(key) || !j[key].is_number_integer())
    fail(Exit::data, "{}: metadata: config has no whole number '{}', expected a golden file of the denoiser", f.path(), key);
  return j[key].get<int64_t>();
}

}  // namespace

std::vector<GoldenLine> check_golden(const SafeTensors& file, DType type, Context context) {
  const Json j = parse_json(file.meta("config"), file.path());
  DenoiserConfig config;
  config.features = whole(j, file, "feature_dim");
  config.genes = whole(j, file, "n_genes");
  config.hidden = whole(j, file, "hidden_dim");
  config.pairwise = whole(j, file, "pairwise_dim");
  config.layers = whole(j, file, "n_layers");
  config.heads = whole(j, file, "n_heads");
  const int steps = int(whole(j, file, "n_sample_steps"));

  Check c(file, type, context);
  ParameterSet set(type, context.device);
  Denoiser denoiser(set, config);
  set.allocate(0);
  auto load = [&] {
    for (const Parameter& p : set.all()) file.read_into("w." + p.name, set.value(p), context.device);
  };
  load();
  const int64_t n = file.at("in.coords").size / 2;
  const Tensor coords = c.read("in.coords", {n, 2}, DType::f64), features = c.there(c.read("in.features", {n, config.features}, type));
  const Tensor y1 = c.there(c.read("in.y1", {n, config.genes}, type)), yt = c.there(c.read("in.yt", {n, config.genes}, type)),
               time = c.there(c.read("in.t", {1}, type));
  Array rank({n}, DType::i32);
  for (int64_t i = 0; i < n; i++) rank.as<int32_t>()[i] = int32_t(i);
  Geometry geometry(context);
  geometry.build(coords, rank, {int(whole(j, file, "n_neighbors")), FrameMode::reference, false}, type);
  c.geometry(geometry, n);

  Tape tape(context);
  Dropouts none;
  const Denoiser::Slide slide = denoiser.slide(tape.input(features), tape.input(geometry.frames().values), none);
  const Denoiser::Output out = denoiser.step(tape.input(yt), tape.input(time), slide, geometry.graph(), none);
  Var loss = mse(out.prediction, tape.input(y1));
  tape.plan(true, true);
  Storage arena(0, context.device);
  Array grads(set.grads().shape, type, context.device);
  tape.bind(arena, set, grads);
  tape.forward();
  c.compare("mid.time_embedding", tape.value(out.time));
  for (size_t l = 0; l < out.tokens.size(); l++) {
    const std::string layer = "mid.layer" + std::to_string(l) + ".";
    c.compare(layer + "edges", tape.value(slide.edges[l]));
    c.compare(layer + "scores", tape.value(out.scores[l]));
    c.compare(layer + "attention", tape.value(out.attention[l]));
    c.compare(layer + "tokens", tape.value(out.tokens[l]));
    c.compare(layer + "genes", tape.value(out.genes[l]));
  }
  c.compare("out.prediction", tape.value(out.prediction));
  c.compare("out.loss", tape.value(loss));
  tape.backward(loss);
  double all = 0;
  for (const Parameter& p : set.all()) all = std::hypot(all, norm(file.read<double>("grad." + p.name)));
  auto influences = [&](const Parameter& p) { return norm(file.read<double>("grad." + p.name)) > kNoInfluence * all; };
  for (const Parameter& p : set.all()) c.compare("grad." + p.name, set.slice(grads, p), influences(p) ? 0 : all);

  Sampler sampler(denoiser, set, context);
  sampler.set_slide(features, geometry);
  sampler.sample(c.there(c.read("in.y0", {n, config.genes}, type)), steps, Solver::euler,
                 [&](int s, const Tensor& prediction) { c.compare("sample.step" + std::to_string(s) + ".prediction", prediction); });

  OptimizerState state;
  state.allocate(set, false);
  const AdamOptions adam;  // the reference's
  std::vector<double> losses, norms;
  for (int step = 0; step < 10; step++) {
    fill(context.device, set.grads().data, 0, set.grads().bytes(), context.stream);
    tape.bind(arena, set, set.grads());
    tape.forward();
    losses.push_back(numbers(copy_of(tape.value(loss), context.device, Device::cpu))[0]);
    tape.backward(loss);
    norms.push_back(adamw_step(context, set, adam, adam.lr, 1, state));
  }
  c.compare("train.losses", losses);
  c.compare("train.grad_norms", norms);
  // Adam divides by the gradient's size: where that vanishes, float32 steps follow rounding. Weights are compared in float64.
  if (type == DType::f32) {
    for (const GoldenLine& l : check_golden(file, DType::f64, Context{context.isa}))
      if (l.name.starts_with("train.w10.")) c.lines.push_back(l);
    return c.lines;
  }
  for (const Parameter& p : set.all())
    if (file.find("train.w10." + p.name) && influences(p)) c.compare("train.w10." + p.name, set.value(p));
  return c.lines;
}

}  // namespace stflow
