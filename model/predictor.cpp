#include "model/predictor.h"

#include <algorithm>
#include <cmath>

#include "engine/safetensors.h"
#include "nlohmann/json.hpp"

namespace stflow {
namespace {

constexpr const char* kFormat = "stflow-model-1";

Tensor column(const std::vector<double>& v) { return {const_cast<double*>(v.data()), {int64_t(v.size())}, DType::f64}; }

void put(std::vector<OutTensor>& out, const std::string& name, const std::vector<double>& v) {
  if (!v.empty()) out.emplace_back(name, column(v));
}
std::vector<double> get(const SafeTensors& f, const std::string& name, size_t want) {
  std::vector<double> v = f.read<double>(name);
  if (v.size() != want) fail(Exit::data, "{}: tensor '{}': {} numbers, expected {}", f.path(), name, v.size(), want);
  return v;
}
void get(const SafeTensors& f, const std::string& name, size_t want, Standardizer& into) {
  into.mean = get(f, name + ".mean", want), into.sd = get(f, name + ".sd", want);
}

// The first member has the reference's names, so that a model of one reads as the reference's does.
std::string member_prefix(size_t m) { return m == 0 ? "" : "member" + std::to_string(m) + "."; }

// Of a model file that has one: at least two spots, and distances that could be theirs.
void get(const SafeTensors& f, int64_t dim, Novelty& into) {
  if (f.find("novelty.distances") == nullptr) return;
  const auto rows = size_t(f.at("novelty.distances").size);
  into.dim = dim;
  into.distances = get(f, "novelty.distances", rows);
  into.features = f.read<float>("novelty.features");
  const auto finite = [](double x) { return std::isfinite(x); };
  const auto& d = into.distances;
  if (rows < 2 || into.features.size() != rows * size_t(dim) || !std::is_sorted(d.begin(), d.end()) || !(d[0] >= 0) ||
      !std::all_of(d.begin(), d.end(), finite) || !std::all_of(into.features.begin(), into.features.end(), finite))
    fail(Exit::data, "{}: novelty: {} features of {} spots, expected {} finite ones of each and ascending distances", f.path(),
         into.features.size(), rows, dim);
}

// That the file has weights of a denoiser of these sizes: before memory is taken for them.
void check_weights(const SafeTensors& f, const ModelConfig& c) {
  try {
    check_sizes(c);
  } catch (const Error& e) {
    fail(Exit::data, "{}: config: {}", f.path(), e.what());
  }
  ParameterSet declared;
  const Denoiser denoiser(declared, c.denoiser);
  for (int m = 0; m < c.members; m++)
    for (const Parameter& p : declared.all()) {
      const StoredTensor& t = f.at(member_prefix(size_t(m)) + p.name);
      if (t.shape != std::vector<int64_t>(p.shape.n, p.shape.n + p.shape.rank))
        fail(Exit::data, "{}: tensor '{}': shape {}, expected {}", f.path(), t.name, t.shape_text(), p.shape.text());
    }
}

}  // namespace

Predictor::Predictor(ModelConfig c, const Context& context) : config(std::move(c)), context_(context) {
  pipeline.surroundings = config.surroundings;
  for (int m = 0; m < config.members; m++) {
    parameters_.push_back(std::make_unique<ParameterSet>(DType::f32, context.device));
    Denoiser declared(*parameters_.back(), config.denoiser);
    parameters_.back()->allocate(config.seed + 0x632BE59BD9B4E019u * uint64_t(m));
    if (m == 0) denoiser_ = std::make_unique<Denoiser>(std::move(declared));
  }
}

void Predictor::save(const std::string& path) const {
  std::vector<OutTensor> out;
  std::vector<Array> weights;
  for (const auto& set : parameters_) weights.push_back(set->host_values());
  for (size_t m = 0; m < parameters_.size(); m++)
    for (const Parameter& p : parameters_[m]->all()) out.emplace_back(member_prefix(m) + p.name, parameters_[m]->slice(weights[m], p));
  put(out, "features.mean", pipeline.scale.mean);
  put(out, "features.sd", pipeline.scale.sd);
  put(out, "targets.mean", targets.mean);
  put(out, "targets.sd", targets.sd);
  put(out, "expert.weight", expert.weight);
  put(out, "expert.offset", expert.offset);
  std::vector<double> zinb[3];
  for (const Zinb& z : prior.genes) zinb[0].push_back(z.mu), zinb[1].push_back(z.theta), zinb[2].push_back(z.pi);
  put(out, "genes.validation", validation);
  put(out, "genes.residual_sd", residuals.sd);
  put(out, "genes.residual_quantiles", residuals.quantiles);
  put(out, "prior.mu", zinb[0]);
  put(out, "prior.theta", zinb[1]);
  put(out, "prior.pi", zinb[2]);
  put(out, "novelty.distances", novelty.distances);
  if (novelty.active())
    out.emplace_back("novelty.features", Tensor{const_cast<float*>(novelty.features.data()), {novelty.size(), novelty.dim}, DType::f32});
  write_safetensors(path, std::move(out),
                    {{"format", kFormat},
                     {"config", to_json(config).dump()},
                     {"genes", Json(genes).dump()},
                     {"encoder", Json(encoder).dump()},
                     {"blend", Json(blend).dump()},
                     {"clip", Json(pipeline.scale.clip).dump()}});
}

Predictor Predictor::load(const std::string& path, const Context& context) {
  const SafeTensors f(path);
  if (!f.metadata().contains("format")) fail(Exit::data, "{}: metadata: no 'format', expected a model written by stflow train", path);
  if (f.meta("format") != kFormat) fail(Exit::data, "{}: metadata: format '{}', expected {}", path, f.meta("format"), kFormat);
  f.verify();
  const ModelConfig config = config_from_json(parse_json(f.meta("config"), path), path);
  check_weights(f, config);
  Predictor p(config, context);
  auto field = [&](const char* key, auto& into) {
    try {
      parse_json(f.meta(key), path).get_to(into);
    } catch (const nlohmann::json::exception&) {
      fail(Exit::data, "{}: metadata: '{}' is '{}', expected another type", path, key, f.meta(key));
    }
  };
  field("genes", p.genes);
  field("encoder", p.encoder);
  field("blend", p.blend);
  field("clip", p.pipeline.scale.clip);
  const size_t g = p.genes.size(), inputs = size_t(p.config.denoiser.features), own = inputs / (1 + p.config.surroundings.size());
  if (int64_t(g) != p.config.denoiser.genes) fail(Exit::data, "{}: metadata: {} genes, expected {}", path, g, p.config.denoiser.genes);
  for (size_t m = 0; m < p.parameters_.size(); m++)
    for (const Parameter& q : p.parameters_[m]->all()) f.read_into(member_prefix(m) + q.name, p.parameters_[m]->value(q), context.device);
  if (config.standardize_features) get(f, "features", own, p.pipeline.scale);
  if (config.standardize_targets) get(f, "targets", g, p.targets);
  if (!(p.blend >= 0 && p.blend <= 1) || (p.blend < 1 && !config.expert))
    fail(Exit::data, "{}: metadata: 'blend' is {}, expected {}", path, p.blend, config.expert ? "0 to 1" : "1 without an expert");
  if (config.expert) p.expert.weight = get(f, "expert.weight", inputs * g), p.expert.offset = get(f, "expert.offset", g);
  p.expert.features = int64_t(inputs), p.expert.outputs = int64_t(g);
  get(f, int64_t(own), p.novelty);
  if (f.find("genes.validation")) p.validation = get(f, "genes.validation", g);
  if (f.find("genes.residual_sd")) {
    p.residuals.sd = get(f, "genes.residual_sd", g);
    p.residuals.quantiles = get(f, "genes.residual_quantiles", g * size_t(Residuals::kLevels));
    for (const auto* values : {&p.residuals.sd, &p.residuals.quantiles})
      for (const double v : *values)
        if (!std::isfinite(v)) fail(Exit::data, "{}: genes: a residual is {}, expected numbers", path, v);
  }
  p.prior.kind = config.prior;
  if (config.prior != PriorKind::gaussian && config.prior != PriorKind::zero) {
    const size_t rows = config.prior == PriorKind::zinb_fixed ? 1 : g;
    const std::vector<double> mu = get(f, "prior.mu", rows), theta = get(f, "prior.theta", rows), pi = get(f, "prior.pi", rows);
    for (size_t i = 0; i < rows; i++) {
      if (!(mu[i] >= 0 && theta[i] > 0 && pi[i] >= 0 && pi[i] <= 1))
        fail(Exit::data, "{}: prior: mu {}, theta {}, pi {} of gene {}, expected a distribution", path, mu[i], theta[i], pi[i], i + 1);
      p.prior.genes.push_back({mu[i], theta[i], pi[i]});
    }
  }
  return p;
}

}  // namespace stflow
