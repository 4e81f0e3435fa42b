#include "tools/predict/stored_features.h"

#include "data/feature_cache.h"
#include "data/patches.h"
#include "tools/encoder/slide_job.h"
#include "tools/features.h"

namespace stflow {
namespace {

// Patches that are cut already have the size they have.
const PatchSpec& spec_of(const Section& s, const PatchEncoder& encoder) {
  return s.source.image.empty() ? encoder.spec() : encoder.scaled_spec();
}

}  // namespace

void keep_decodable(PredictInput& input, const PatchEncoder& encoder) {
  Section& s = input.section;
  const std::shared_ptr<const SlideImage> slide = input.slide ? input.slide : input.image;
  if (!slide || slide->by_rows()) return;
  const PatchSpec& spec = encoder.scaled_spec();
  const std::vector<int64_t> rows = leave_out_bad(s, *slide, patch_side(s, spec), spec.size, input.missing);
  const auto keep = [&](std::vector<int32_t>& column) {
    std::vector<int32_t> kept;
    for (const int64_t r : rows) kept.push_back(column[size_t(r)]);
    column = std::move(kept);
  };
  if (!input.places.array_row.empty()) keep(input.places.array_row), keep(input.places.array_col);
}

std::unique_ptr<FeatureStore> store_features(const PredictInput& input, PatchEncoder& encoder, const std::string& folder_of_cache,
                                             const std::string& folder, size_t most) {
  const Section& s = input.section;
  check_patches(s);
  const PatchSpec& spec = spec_of(s, encoder);
  auto store = std::make_unique<FeatureStore>(s.size(), encoder.dim(), folder);
  const auto put = [&](int64_t row, const float* features) { store->put(row, features); };
  std::vector<std::string> warnings;
  const auto warn = [&] {
    for (const std::string& w : warnings) terminal::warn("{}", w);
  };
  const FeatureCache cache(folder_of_cache);
  const bool kept = !input.slide && !folder_of_cache.empty();
  const std::string key = kept ? FeatureCache::key(s, cache_text(encoder), spec) : "";
  if (kept && cache.load(key, s.size(), encoder.dim(), put, warnings)) {
    terminal::info("features: {} from the cache ({})", s.sample(), folder_of_cache);
    return store;
  }
  PatchJob job = section_job(
      s, spec, put, [] {}, input.slide ? input.slide : input.image);
  terminal::Progress progress("features", s.size());
  embed_patches(encoder, {std::move(job)}, progress);
  progress.finish();
  if (kept && store->rows().size_bytes() > most)
    terminal::info("features: {} are not put into the cache: {} are more than --max-mem has room for", s.sample(),
                   terminal::bytes(store->rows().size_bytes()));
  else if (kept) cache.store(key, s.size(), encoder.dim(), store->rows(), warnings);
  store->forget();
  warn();
  return store;
}

}  // namespace stflow
