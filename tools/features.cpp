#include "tools/features.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "data/feature_cache.h"
#include "data/patch_file.h"
#include "data/patches.h"
#include "engine/distributed/plan.h"
#include "engine/file.h"
#include "model/geometry.h"
#include "tools/encoder/slide_job.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

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

// All sections have features of one origin, and of the encoder that the user named, if any.
Origin precomputed(const std::vector<Section>& sections, const FeatureOptions& options) {
  const Section& first = sections[0];
  for (const Section& s : sections) {
    if (s.features.empty()) fail(Exit::data, "{}: embeddings: none, expected features for every section once one has them", s.sample());
    if (s.feature_dim != first.feature_dim)
      fail(Exit::data, "{}: embeddings: {} features a spot, expected {} as in {}", s.sample(), s.feature_dim, first.feature_dim,
           first.sample());
    if (s.origin != first.origin)
      fail(Exit::data, "{}: embeddings: {}, expected {} as in {}", s.sample(), text_of(s.origin), text_of(first.origin), first.sample());
  }
  if (!options.encoder.encoder.empty()) {
    const PatchEncoder encoder(options.encoder);
    if (encoder.dim() != first.feature_dim)
      fail(Exit::data, "{}: embeddings: {} features a spot, expected {} as {} gives", first.sample(), first.feature_dim, encoder.dim(),
           options.encoder.encoder);
    if (!first.origin.empty() && first.origin != encoder.origin())
      fail(Exit::data, "{}: embeddings: {}, expected {} as --encoder says", first.sample(), text_of(first.origin),
           text_of(encoder.origin()));
  }
  if (!first.origin.empty()) return first.origin;
  return {{"kind", "precomputed"}, {"dim", std::to_string(first.feature_dim)}};
}

}  // namespace

void keep_patched(Section& s, std::vector<std::string>& warnings) {
  const PatchFile file = open_patch_file(s.source.patches);
  const std::unordered_set<std::string> names(file.names.begin(), file.names.end());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < s.size(); i++)
    if (names.contains(s.spots[size_t(i)])) rows.push_back(i);
  const auto both = int64_t(rows.size());
  if (2 * both < std::min(s.size(), file.count))
    fail(Exit::data, "{}: {}: {} patches and {} spots of {} have {} names in common, expected at least half", file.path, file.dataset,
         file.count, s.size(), s.source.counts, both);
  s.leave_unmatched(s.size(), file.count, both, fmt::format("{} spots, {} patches, {} in both", s.size(), file.count, both), warnings);
  s.keep(rows);
}

namespace {

// Of a section's file of patches, in its order, those of its spots.
void add_cut_patches(PatchJob& job, const Section& s) {
  constexpr int64_t kPiece = 64;  // patches that are read at once: 10 MB of the usual ones
  const auto file = std::make_shared<const PatchFile>(open_patch_file(s.source.patches));
  std::unordered_map<std::string, int64_t> spot;
  for (int64_t i = 0; i < s.size(); i++) spot.emplace(s.spots[size_t(i)], i);
  const auto row = std::make_shared<std::vector<int64_t>>();
  for (const std::string& name : file->names) {
    const auto at = spot.find(name);
    row->push_back(at == spot.end() ? -1 : at->second);
    if (at != spot.end()) spot.erase(at);
  }
  if (!spot.empty())
    fail(Exit::data, "{}: {}: no patch of {} of the {} spots of {}, expected one of each", file->path, file->dataset, spot.size(), s.size(),
         s.source.counts);
  for (int64_t first = 0; first < file->count; first += kPiece)
    job.pieces.emplace_back([file, row, first, count = std::min(kPiece, file->count - first)](const PatchJob::Sink& sink) {
      int64_t i = first;
      for (Image& patch : read_patches(*file, first, count))
        if (const int64_t to = (*row)[size_t(i++)]; to >= 0) sink(to, std::move(patch));
    });
}

// Read by rectangle.
bool is_tiled(const std::string& image) { return image_format(FileView(image).text()).empty(); }

}  // namespace

void check_patches(const Section& s) {
  if (s.source.image.empty() && s.source.patches.empty())
    fail(Exit::data, "{}: no image and no patches, expected what features are made of; --image names it, --embeddings has features",
         s.sample());
}

std::shared_ptr<const SlideImage> tiled_image(const Section& s, bool skip_bad) {
  if (s.source.image.empty() || !is_tiled(s.source.image)) return {};
  SlideOptions options;
  options.skip_bad_tiles = skip_bad;
  return std::make_shared<const SlideImage>(s.source.image, options);
}

std::string cache_text(const PatchEncoder& encoder) {
  std::string text;
  for (const auto& [key, value] : encoder.origin()) text += fmt::format("{}={}\n", key, value);
  return text;
}

PatchJob section_job(const Section& s, const PatchSpec& spec, std::function<void(int64_t, const float*)> row, std::function<void()> done,
                     const std::shared_ptr<const SlideImage>& slide) {
  const std::string& image = s.source.image;
  PatchJob job{s.sample(), s.size(), {}, {}, {}};
  check_patches(s);
  if (image.empty()) {
    add_cut_patches(job, s);
  } else if (slide ? !slide->by_rows() : is_tiled(image)) {
    const OpenSlideImage open = [slide, image] { return slide ? slide : std::make_shared<const SlideImage>(image); };
    job = slide_job(s.sample(), open, s.xy, patch_side(s, spec), spec.size);
  } else {
    job.pieces.emplace_back([&s, spec](const PatchJob::Sink& sink) {
      const int64_t size = spec.size;
      cut_patches(s.source.image, s.xy, patch_side(s, spec), spec.size, [&](int64_t i, const uint8_t* rgb) {
        sink(i, {size, size, {rgb, rgb + size * size * 3}});
      });
    });
  }
  job.row = std::move(row), job.done = std::move(done);
  return job;
}

Origin add_features(std::vector<Section>& sections, const FeatureOptions& options, Communicator& ranks) {
  if (std::any_of(sections.begin(), sections.end(), [](const Section& s) { return !s.features.empty(); }))
    return precomputed(sections, options);
  PatchEncoder encoder(options.encoder);
  const bool cuts = std::any_of(sections.begin(), sections.end(), [](const Section& s) { return !s.source.image.empty(); });
  const PatchSpec spec = cuts ? encoder.scaled_spec() : encoder.spec();
  const std::string text = cache_text(encoder);
  const FeatureCache cache(options.cache);
  std::vector<std::string> warnings;
  std::vector<PatchJob> jobs;
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
    check_patches(s);
    const std::string key = FeatureCache::key(s, text, spec);
    s.features.resize(size_t(s.size() * s.feature_dim));
    const auto row = [&s](int64_t r, const float* x) { std::copy_n(x, s.feature_dim, s.features.begin() + r * s.feature_dim); };
    if (cache.load(key, s.size(), encoder.dim(), row, warnings)) continue;
    patches += s.size();
    jobs.push_back(
        section_job(s, spec, row, [&s, &cache, &warnings, key] { cache.store(key, s.size(), s.feature_dim, s.features, warnings); }));
  }
  if (jobs.empty()) terminal::info("features: {} sections from the cache ({})", own, options.cache);
  else terminal::info("features: {} patches of {:g} um to embed, {} of {} sections cached", patches, spec.microns, own - jobs.size(), own);
  terminal::Progress progress("features", patches);
  embed_patches(encoder, jobs, progress);
  progress.finish();
  for (size_t i = 0; ranks.size() > 1 && i < sections.size(); i++) share(sections[i], owner[i], options.encoder.context, ranks);
  warn_all(warnings);
  return encoder.origin();
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
