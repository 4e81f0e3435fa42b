#include "model/config.h"

#include <nlohmann/json.hpp>

#include "ops/neighbor_mix.h"

namespace stflow {

// The default's values were chosen on left-out training sections of her2st (CONTRIBUTING.md says how). The reference's are those
// of the authors' released code, but for features on one scale: learned encoders give that by themselves, descriptors do not.
ModelConfig preset(const std::string& name) {
  ModelConfig c;
  c.preset = name;
  if (name == "default") {
    c.denoiser.hidden = c.denoiser.pairwise = 32;
    c.denoiser.layers = 2;
    c.surroundings = {8, 30};
    return c;
  }
  if (name != "reference") fail(Exit::usage, "--preset: found '{}', expected default or reference", name);
  c.geometry.frames = FrameMode::reference;
  c.geometry.scale_free = false;
  c.prior = PriorKind::zinb_fixed;
  c.standardize_targets = c.expert = false;
  c.members = c.samples = 1;
  c.epochs = 40;
  c.training = {.batch = 2, .item = ItemLaw::disc, .repeats = 10, .shuffle = false, .adam = {}, .warmup = 0, .cosine = false};
  return c;
}

void check_sizes(const ModelConfig& c) {
  check_sizes(c.denoiser);
  if (c.geometry.neighbors * c.denoiser.heads > kNeighborMixMost)
    fail(Exit::usage, "denoiser: {} neighbours x {} heads, expected at most {}", c.geometry.neighbors, c.denoiser.heads, kNeighborMixMost);
}

Json to_json(const ModelConfig& c) {
  return {{"preset", c.preset},
          {"features", c.denoiser.features},
          {"genes", c.denoiser.genes},
          {"hidden_dim", c.denoiser.hidden},
          {"pairwise_hidden_dim", c.denoiser.pairwise},
          {"n_layers", c.denoiser.layers},
          {"n_heads", c.denoiser.heads},
          {"dropout", c.denoiser.dropout},
          {"attn_dropout", c.denoiser.attention_dropout},
          {"gene_relu", c.denoiser.gene_relu},
          {"n_neighbors", c.geometry.neighbors},
          {"frames", c.geometry.frames == FrameMode::exact ? "exact" : "reference"},
          {"scale_free", c.geometry.scale_free},
          {"prior", name_of(c.prior)},
          {"steps", c.training.steps},
          {"batch_size", c.training.batch},
          {"items", c.training.item == ItemLaw::whole ? "whole" : "disc"},
          {"sample_times", c.training.repeats},
          {"shuffle", c.training.shuffle},
          {"lr", c.training.adam.lr},
          {"warmup", c.training.warmup},
          {"cosine", c.training.cosine},
          {"weight_decay", c.training.adam.weight_decay},
          {"clip_norm", c.training.adam.clip_norm},
          {"ema", c.training.adam.ema_decay},
          {"epochs", c.epochs},
          {"standardize_features", c.standardize_features},
          {"standardize_targets", c.standardize_targets},
          {"surroundings", c.surroundings},
          {"expert", c.expert},
          {"n_sample_steps", c.sample_steps},
          {"members", c.members},
          {"samples", c.samples},
          {"solver", c.solver == Solver::euler ? "euler" : "heun"},
          {"seed", c.seed}};
}

namespace {

constexpr int64_t kMostInputs = 1 << 24, kMostWidth = 1 << 14;  // more would overflow a product of two sizes somewhere

template <class T> void read(const Json& j, const std::string& file, const char* key, T& into) {
  if (!j.is_object() || !j.contains(key)) fail(Exit::data, "{}: config: no '{}', expected one", file, key);
  try {
    j.at(key).get_to(into);
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, "{}: config: '{}' is {}, expected another type", file, key, j.at(key).dump());
  }
}

// A number of which a reader has to be sure before it counts with it.
template <class T> void read(const Json& j, const std::string& file, const char* key, T& into, T low, T high) {
  read(j, file, key, into);
  if (!(into >= low && into <= high)) fail(Exit::data, "{}: config: '{}' is {}, expected {} to {}", file, key, j.at(key).dump(), low, high);
}

bool read_word(const Json& j, const std::string& file, const char* key, const char* yes, const char* no) {
  std::string word;
  read(j, file, key, word);
  if (word != yes && word != no) fail(Exit::data, "{}: config: '{}' is '{}', expected {} or {}", file, key, word, yes, no);
  return word == yes;
}

}  // namespace

ModelConfig config_from_json(const Json& j, const std::string& file) {
  ModelConfig c;
  read(j, file, "preset", c.preset);
  read<int64_t>(j, file, "features", c.denoiser.features, 1, kMostInputs);
  read<int64_t>(j, file, "genes", c.denoiser.genes, 1, kMostInputs);
  read<int64_t>(j, file, "hidden_dim", c.denoiser.hidden, 1, kMostWidth);
  read<int64_t>(j, file, "pairwise_hidden_dim", c.denoiser.pairwise, 1, kMostWidth);
  read<int64_t>(j, file, "n_layers", c.denoiser.layers, 1, 64);
  read<int64_t>(j, file, "n_heads", c.denoiser.heads, 1, kMostWidth);
  read(j, file, "dropout", c.denoiser.dropout);
  read(j, file, "attn_dropout", c.denoiser.attention_dropout);
  read(j, file, "gene_relu", c.denoiser.gene_relu);
  read(j, file, "n_neighbors", c.geometry.neighbors, 1, 256);
  c.geometry.frames = read_word(j, file, "frames", "exact", "reference") ? FrameMode::exact : FrameMode::reference;
  read(j, file, "scale_free", c.geometry.scale_free);
  std::string prior;
  read(j, file, "prior", prior);
  try {
    c.prior = prior_kind(prior);
  } catch (const Error&) {
    fail(Exit::data, "{}: config: 'prior' is '{}', expected one that this version knows", file, prior);
  }
  read(j, file, "steps", c.training.steps);
  read(j, file, "batch_size", c.training.batch);
  c.training.item = read_word(j, file, "items", "whole", "disc") ? ItemLaw::whole : ItemLaw::disc;
  read(j, file, "sample_times", c.training.repeats);
  read(j, file, "shuffle", c.training.shuffle);
  read(j, file, "lr", c.training.adam.lr);
  read(j, file, "warmup", c.training.warmup);
  read(j, file, "cosine", c.training.cosine);
  read(j, file, "weight_decay", c.training.adam.weight_decay);
  read(j, file, "clip_norm", c.training.adam.clip_norm);
  read(j, file, "ema", c.training.adam.ema_decay);
  read(j, file, "epochs", c.epochs);
  read(j, file, "standardize_features", c.standardize_features);
  read(j, file, "standardize_targets", c.standardize_targets);
  read(j, file, "surroundings", c.surroundings);
  for (int k : c.surroundings)
    if (k < 1 || k > kMostWidth || int64_t(c.surroundings.size()) >= c.denoiser.features)
      fail(Exit::data, "{}: config: 'surroundings' is {}, expected numbers of spots, 1 to {}", file, j.at("surroundings").dump(),
           kMostWidth);
  read(j, file, "expert", c.expert);
  read(j, file, "n_sample_steps", c.sample_steps, 2, 1000);
  read(j, file, "members", c.members, 1, kMostMembers);
  read(j, file, "samples", c.samples, 1, 4096);
  c.solver = read_word(j, file, "solver", "euler", "heun") ? Solver::euler : Solver::heun;
  read(j, file, "seed", c.seed);
  return c;
}

}  // namespace stflow
