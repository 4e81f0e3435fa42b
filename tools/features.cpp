#include "tools/features.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "data/feature_cache.h"
#include "data/patches.h"
#include "engine/distributed/plan.h"
#include "model/encoder.h"
#include "model/geometry.h"
#include "tools/signals.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

// Cuts a section's patches a batch at a time and encodes them.
std::vector<float> encode(const Section& section, Encoder& encoder, const PatchSpec& spec, terminal::Progress& progress, int64_t done) {
  const auto dim = encoder.dim();
  const size_t bytes = size_t(spec.size) * size_t(spec.size) * 3;
  std::vector<float> features(size_t(section.size() * dim)), out(size_t(encoder.batch() * dim));
  std::vector<uint8_t> rgb(size_t(encoder.batch()) * bytes);
  std::vector<int64_t> rows;
  auto flush = [&] {
    encoder.embed(rgb.data(), int64_t(rows.size()), out.data());
    for (size_t i = 0; i < rows.size(); i++) std::copy_n(out.begin() + int64_t(i) * dim, dim, features.begin() + rows[i] * dim);
    progress.update(done += int64_t(rows.size()), section.sample());
    if (stop_requested())
      fail(Exit::preempted, "stopped by a signal while embedding {}, expected the end; start again: sections in the cache are kept",
           section.sample());
    rows.clear();
  };
  cut_patches(section.source.image, section.xy, patch_side(section, spec), spec.size, [&](int64_t i, const uint8_t* patch) {
    std::copy_n(patch, bytes, rgb.begin() + int64_t(rows.size() * bytes));
    rows.push_back(i);
    if (int64_t(rows.size()) == encoder.batch()) flush();
  });
  if (!rows.empty()) flush();
  return features;
}

// Every rank gets the features of the section from the one that has them.
void share(Section& s, int owner, const Context& context, Communicator& ranks) {
  s.features.resize(size_t(s.size() * s.feature_dim));
  const Tensor here = view(s.features.data(), {s.size(), s.feature_dim});
  if (context.device == Device::cpu) return ranks.broadcast(here, owner, "features");
  const Array there = copy_of(here, Device::cpu, context.device, context.stream);
  ranks.broadcast(there, owner, "features");
  ranks.wait();
  copy(Device::cpu, here.data, context.device, there.tensor().data, here.bytes(), context.stream);
}

void warn_all(const std::vector<std::string>& warnings) {
  for (const std::string& w : warnings) terminal::warn("{}", w);
}

}  // namespace

std::string shipped(const std::string& folder) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = program.parent_path() / folder, installed = program.parent_path() / "../share/stflow" / folder;
  return (std::filesystem::exists(installed, error) && !std::filesystem::exists(beside, error) ? installed : beside)
      .lexically_normal()
      .string();
}

std::string default_encoder() {
  const std::string folder = shipped("weights");
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with("stflow-vit") && entry.path().extension() == ".safetensors")
      found.push_back(entry.path().string());
  if (!found.empty()) return *std::max_element(found.begin(), found.end());
  fail(Exit::missing,
       "{}: no stflow-vit*.safetensors, expected the encoder that comes with stflow; pass --encoder FILE or --embeddings DIR", folder);
}

std::map<std::string, std::string> add_features(std::vector<Section>& sections, const FeatureOptions& options, Communicator& ranks) {
  if (std::any_of(sections.begin(), sections.end(), [](const Section& s) { return !s.features.empty(); })) {
    for (const Section& s : sections) {
      if (s.features.empty()) fail(Exit::data, "{}: embeddings: none, expected features for every section once one has them", s.sample());
      if (s.feature_dim != sections[0].feature_dim)
        fail(Exit::data, "{}: embeddings: {} features a spot, expected {} as in {}", s.sample(), s.feature_dim, sections[0].feature_dim,
             sections[0].sample());
    }
    return {{"kind", "precomputed"}, {"dim", std::to_string(sections[0].feature_dim)}};
  }
  const std::string path = options.encoder.empty() ? default_encoder() : options.encoder;
  Encoder encoder(path, options.context);
  if (!(encoder.microns() > 0)) fail(Exit::data, "{}: metadata: no 'microns', expected the side of a patch in tissue", path);
  std::map<std::string, std::string> identity = encoder.identity();
  identity["kind"] = "encoder";
  std::string text;
  for (const auto& [key, value] : identity) text += fmt::format("{}={}\n", key, value);
  const PatchSpec spec{encoder.microns(), encoder.size()};
  const FeatureCache cache(options.cache);
  std::vector<std::string> warnings;
  std::vector<Section*> uncached;
  std::vector<std::string> keys;
  int64_t patches = 0;
  size_t own = 0;
  std::vector<int64_t> sizes;
  for (const Section& s : sections) sizes.push_back(s.size());
  const std::vector<int> owner = shares_of(sizes, ranks.size());
  for (size_t i = 0; i < sections.size(); i++) {
    Section& s = sections[i];
    s.feature_dim = encoder.dim();
    if (owner[i] != ranks.rank()) continue;
    own++;
    const std::string key = FeatureCache::key(s, text, spec);
    if (cache.load(key, s.size(), encoder.dim(), s.features, warnings)) continue;
    uncached.push_back(&s), keys.push_back(key), patches += s.size();
  }
  if (uncached.empty()) terminal::info("features: {} sections from the cache ({})", own, options.cache);
  else
    terminal::info("features: {} patches of {:g} um to embed, {} of {} sections cached", patches, spec.microns, own - uncached.size(), own);
  terminal::Progress progress("features", patches);
  int64_t done = 0;
  for (size_t i = 0; i < uncached.size(); i++) {
    Section& s = *uncached[i];
    s.features = encode(s, encoder, spec, progress, done);
    done += s.size();
    cache.store(keys[i], s.size(), encoder.dim(), s.features, warnings);
  }
  progress.finish();
  for (size_t i = 0; ranks.size() > 1 && i < sections.size(); i++) share(sections[i], owner[i], options.context, ranks);
  warn_all(warnings);
  return identity;
}

Slide make_slide(const Section& section, const Panel& panel, MissingGenes uncached) {
  Slide s;
  s.name = section.sample();
  s.spots = section.spots;
  s.xy = section.xy;
  s.rank = canonical_rank(section.spots);
  s.dim = section.feature_dim;
  s.features = section.features;
  if (!section.counts.empty()) s.counts = counts_of(section, panel, uncached).values;
  return s;
}

}  // namespace stflow
