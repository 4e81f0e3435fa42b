// Fit::save and Fit::load: a training run in one file. What follows from the configuration and the data (scaling, prior,
// expert, graphs) is computed again; what took steps to get is stored.
#include <nlohmann/json.hpp>

#include "engine/hash.h"
#include "engine/safetensors.h"
#include "engine/version.h"
#include "model/fit.h"

namespace stflow {
namespace {

constexpr const char* kFormat = "stflow-fit-1";

// What the bits of a run depend on besides its configuration and data.
std::string numerics_of(const Context& c) {
  const char* device = c.device == Device::cpu ? "" : c.products == Products::f32 ? " on a GPU" : " on a GPU in TF32";
  return std::to_string(kNumerics) + device;
}

Tensor view_of(const std::vector<float>& v) { return {const_cast<float*>(v.data()), {int64_t(v.size())}, DType::f32}; }

}  // namespace

std::string Fit::data_hash() const {
  Sha256 h;
  for (const Fold& f : stages_)
    for (const auto* side : {&f.train, &f.held_out})
      for (const Slide* s : *side) {
        h.add(s->name);
        for (const std::string& spot : s->spots) h.add(spot);
        h.add(s->xy.data(), s->xy.size() * sizeof(double));
        h.add(s->features.data(), s->features.size() * sizeof(float));
        h.add(s->counts.data(), s->counts.size() * sizeof(float));
      }
  for (const std::string& g : genes_) h.add(g);
  return h.hex();
}

void Fit::save(const std::string& path) const {
  check(stage_ < stages(), "fit: saved when done");
  const OptimizerState& o = optimizer();
  std::vector<OutTensor> out;
  std::vector<Array> here;  // copies in the host's memory
  here.reserve(size_t(member()) + 4);
  auto put = [&](const std::string& name, const Tensor& t) {
    here.push_back(copy_of(t, context_.device, Device::cpu));
    out.emplace_back(name, here.back());
  };
  put("m", o.m), put("v", o.v);
  if (o.has_ema()) put("ema", o.ema);
  for (int m = 0; m <= member(); m++) put("values" + std::to_string(m), current().parameters(m).values());  // later ones are untouched
  for (size_t i = 0; i < results_.size(); i++) {
    const std::string fold = "fold" + std::to_string(i);
    out.emplace_back(fold + ".denoiser", view_of(results_[i].denoiser));
    if (config_.expert) out.emplace_back(fold + ".expert", view_of(results_[i].expert));
  }
  write_safetensors(path, std::move(out),
                    {{"format", kFormat},
                     {"numerics", numerics_of(context_)},
                     {"config", to_json(config_).dump()},
                     {"data", data_hash()},
                     {"stage", std::to_string(stage_)},
                     {"step", std::to_string(o.step)}});
}

void Fit::load(const std::string& path) {
  const SafeTensors f = [&] {
    try {
      SafeTensors opened(path);
      opened.verify();
      return opened;
    } catch (const Error& e) {
      throw DamagedFile(e.code(), e.what());
    }
  }();
  if (f.meta("format") != kFormat) fail(Exit::data, "{}: metadata: format '{}', expected {}", path, f.meta("format"), kFormat);
  const std::string numerics = f.metadata().contains("numerics") ? f.meta("numerics") : "none";
  if (numerics != numerics_of(context_))
    fail(Exit::data, "{}: metadata: numerics {}, expected {}; resume with the stflow and the device that began the run, or start a new one",
         path, numerics, numerics_of(context_));
  const Json stored = parse_json(f.meta("config"), path), mine = to_json(config_);
  for (const auto& [key, value] : mine.items())
    if (!stored.contains(key) || stored[key] != value)
      fail(Exit::data, "{}: config: '{}' was {}, now {}; resume with the flags of the first run, or start a new one", path, key,
           stored.contains(key) ? stored[key].dump() : "absent", value.dump());
  if (f.meta("data") != data_hash())
    fail(Exit::data, "{}: data: the sections, features or genes differ from those of this checkpoint", path);
  auto number = [&](const char* key, int64_t most) {
    const Json j = parse_json(f.meta(key), path);
    if (!j.is_number_integer() || j.get<int64_t>() < 0 || j.get<int64_t>() > most)
      fail(Exit::data, "{}: metadata: '{}' is {}, expected a whole number up to {}", path, key, f.meta(key), most);
    return j.get<int64_t>();
  };
  const int64_t stage = number("stage", stages() - 1), step = number("step", config_.training.steps - 1);
  results_.clear();
  for (int i = 0; i < int(stage) / config_.members; i++) {
    FoldResult r;
    const std::string name = "fold" + std::to_string(i);
    for (const Slide* s : stages_[size_t(i)].held_out) {
      r.held_out += (r.held_out.empty() ? "" : " ") + s->name;
      const std::vector<float> truth = log1p(s->counts);
      r.truth.insert(r.truth.end(), truth.begin(), truth.end());
    }
    r.denoiser = f.read<float>(name + ".denoiser");
    if (config_.expert) r.expert = f.read<float>(name + ".expert");
    if (r.denoiser.size() != r.truth.size() || (config_.expert && r.expert.size() != r.truth.size()))
      fail(Exit::data, "{}: {}: {} predictions, expected {}", path, name, r.denoiser.size(), r.truth.size());
    results_.push_back(std::move(r));
  }
  restart_at(int(stage));
  OptimizerState& o = trainer().state();
  for (int m = 0; m <= member(); m++) f.read_into("values" + std::to_string(m), model().parameters(m).values(), context_.device);
  f.read_into("m", o.m, context_.device);
  f.read_into("v", o.v, context_.device);
  if (o.has_ema()) f.read_into("ema", o.ema, context_.device);
  o.step = step;
}

}  // namespace stflow
