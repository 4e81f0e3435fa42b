#include "data/embedding_writer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/embeddings.h"
#include "engine/error.h"
#include "engine/file.h"

namespace stflow {
namespace {

std::string encoder_name(const Origin& origin) {
  for (const char* key : {"preset", "weights"})
    if (const auto found = origin.find(key); found != origin.end()) return found->second;
  return "unknown";
}

std::vector<int64_t> rounded(const std::vector<double>& xy, double shift) {
  std::vector<int64_t> whole;
  for (const double v : xy) whole.push_back(std::llround(v + shift));
  return whole;
}

/// As trident's own: on the coordinates everything about the patches, on the features where they come from.
void trident_attributes(Hdf5Writer& file, const EmbeddingHeader& h, const std::string& folder) {
  const auto text = [&](const char* object, const char* key, const std::string& value) { file.attribute(object, key, value); };
  for (const char* object : {"coords", "features"}) text(object, "name", h.sample), text(object, "savetodir", folder);
  text("features", "encoder", encoder_name(h.origin));
  file.attribute("coords", "overlap", int64_t(0));
  if (h.patch > 0) file.attribute("coords", "patch_size", h.patch);
  if (h.side > 0) file.attribute("coords", "patch_size_level0", int64_t(std::llround(h.side)));
  if (h.width > 0) file.attribute("coords", "level0_width", h.width), file.attribute("coords", "level0_height", h.height);
  if (h.mpp <= 0) return;
  file.attribute("coords", "level0_magnification", 10 / h.mpp);  // of 1 um per pixel at 10 times
  if (h.side > 0 && h.patch > 0) file.attribute("coords", "target_magnification", 10 * double(h.patch) / (h.mpp * h.side));
}

}  // namespace

EmbeddingWriter::EmbeddingWriter(const std::string& path, EmbeddingLayout layout, const EmbeddingHeader& h)
    : file_(path), data_(layout == EmbeddingLayout::hest ? "embeddings" : "features") {
  const auto n = int64_t(h.names.size());
  const Hdf5Storage growing{.growing = true};
  const bool trident = layout == EmbeddingLayout::trident;
  if (trident && h.xy.empty()) fail(Exit::usage, "{}: --layout trident: patches without coordinates, expected --layout hest", path);
  const bool whole = std::all_of(h.xy.begin(), h.xy.end(), [](double v) { return v == std::floor(v) && std::fabs(v) < 1e15; });
  file_.declare<float>(data_, {n, h.dim}, growing);
  if (trident) file_.numbers<int64_t>("coords", {n, 2}, rounded(h.xy, -h.side / 2).data(), growing);
  else if (!h.xy.empty() && whole) file_.numbers<int64_t>("coords", {n, 2}, rounded(h.xy, 0).data(), growing);
  else if (!h.xy.empty()) file_.numbers<double>("coords", {n, 2}, h.xy.data(), growing);
  file_.strings("barcodes", {n, 1}, h.names, growing);
  file_.attribute("/", kFeatureOrigin, nlohmann::json(h.origin).dump());
  if (trident) trident_attributes(file_, h, folder_of(path));
}

}  // namespace stflow
