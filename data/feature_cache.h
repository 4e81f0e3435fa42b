// Features of spots, kept by the content they were computed from: image, coordinates, encoder and patch size.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/patches.h"
#include "data/section.h"

namespace stflow {

/// $STFLOW_CACHE_DIR, else $XDG_CACHE_HOME/stflow, else ~/.cache/stflow; "" if none of them is set.
std::string default_cache_folder();

/// A folder of safetensors files, one per section and encoder.
class FeatureCache {
 public:
  /// An empty `folder` keeps nothing.
  explicit FeatureCache(std::string folder) : folder_(std::move(folder)) {}

  /// The key: SHA-256 over the image file's bytes, the coordinates, `encoder` (what identifies weights and configuration) and the
  /// patch size. Reads the image file once.
  [[nodiscard]] static std::string key(const Section& section, const std::string& encoder, const PatchSpec& spec);
  [[nodiscard]] std::string path(const std::string& key) const;

  /// Gives the features (rows, dim) to `take`, one row after the other, and returns true if the cache has them undamaged. A damaged file
  /// is ignored with a warning. Little of it is resident at once.
  bool load(const std::string& key, int64_t rows, int64_t dim, const std::function<void(int64_t row, const float* features)>& take,
            std::vector<std::string>& warnings) const;
  /// Keeps them. A cache that cannot be written is no reason to stop: it becomes a warning.
  void store(const std::string& key, int64_t rows, int64_t dim, std::span<const float> features, std::vector<std::string>& warnings) const;

 private:
  std::string folder_;
};

}  // namespace stflow
