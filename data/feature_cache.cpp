#include "data/feature_cache.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "engine/file.h"
#include "engine/hash_file.h"
#include "engine/safetensors.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int64_t kPiece = 1024;  // rows that are read at once

}  // namespace

std::string default_cache_folder() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string own = variable("STFLOW_CACHE_DIR"); !own.empty()) return own;
  if (std::string xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg + "/stflow";
  std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/stflow";
}

std::string FeatureCache::key(const Section& s, const std::string& encoder, const PatchSpec& spec) {
  Sha256 hash;
  const bool cut = s.source.image.empty();  // patches that are cut already, joined by the spots' names
  const FileView image(cut ? s.source.patches : s.source.image);
  hash.add("stflow features 1\n");  // the version of what this program computes from the same inputs
  hash.add(fmt::format("image {}\n", image.size()));
  add_file(hash, image);
  hash.add(fmt::format("encoder {}\n{}patch {} um, {} px, side {}\nspots {}\n", encoder.size(), encoder, shortest(spec.microns), spec.size,
                       cut ? 0 : patch_side(s, spec), s.size()));
  if (cut)
    for (const std::string& spot : s.spots) hash.add(spot + "\n");
  hash.add(s.xy.data(), s.xy.size() * sizeof(double));
  return hash.hex();
}

std::string FeatureCache::path(const std::string& key) const { return folder_ + "/features/" + key + ".safetensors"; }

bool FeatureCache::load(const std::string& key, int64_t rows, int64_t dim, const std::function<void(int64_t, const float*)>& take,
                        std::vector<std::string>& warnings) const {
  if (folder_.empty() || !std::filesystem::exists(path(key))) return false;
  try {
    SafeTensors file(path(key));
    file.verify();
    const StoredTensor& t = file.at("features");
    if (t.shape != std::vector<int64_t>{rows, dim})
      fail(Exit::data, "{}: features {}, expected ({}, {})", file.path(), t.shape_text(), rows, dim);
    std::vector<float> piece(size_t(kPiece * dim));
    for (int64_t first = 0; first < rows; first += kPiece) {
      const int64_t end = std::min(first + kPiece, rows);
      convert(t, first * dim, end * dim, Stored::f32, piece.data(), file.path());
      for (int64_t r = first; r < end; r++) take(r, &piece[size_t((r - first) * dim)]);
      file.forget("features");
    }
    return true;
  } catch (const Error& e) {
    warnings.push_back(fmt::format("{}; the features are computed again", e.what()));
    return false;
  }
}

void FeatureCache::store(const std::string& key, int64_t rows, int64_t dim, std::span<const float> features,
                         std::vector<std::string>& warnings) const {
  if (folder_.empty()) return;
  try {
    make_output_folder(folder_ + "/features");
    write_safetensors(path(key), {{"features", view(const_cast<float*>(features.data()), {rows, dim})}}, {{"key", key}});
  } catch (const Error& e) {
    warnings.push_back(fmt::format("{}; the features are not kept", e.what()));
  }
}

}  // namespace stflow
