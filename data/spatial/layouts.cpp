#include "data/spatial/layouts.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/folder.h"
#include "data/spatial/hest_bench.h"
#include "data/spatial/tenx.h"
#include "engine/error.h"
#include "engine/json.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

/// Names of a folder's files that end so, without the ending, sorted.
std::vector<std::string> stems(const fs::path& folder, const std::string& ending) {
  std::vector<std::string> all;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() > ending.size() && name.ends_with(ending) && it->is_regular_file(error))
      all.push_back(name.substr(0, name.size() - ending.size()));
  }
  std::sort(all.begin(), all.end());
  return all;
}

/// HEST's metadata of a slide: its scale as estimated from the spots, its patient.
void read_metadata(const fs::path& path, Source& source) {
  if (!fs::is_regular_file(path)) return;
  const Json json = read_json(path.string());
  if (!json.is_object()) fail(Exit::data, "{}: no object, expected a slide's metadata", path.string());
  if (json.contains("patient") && json["patient"].is_string()) source.patient = json["patient"].get<std::string>();
  if (json.contains("pixel_size_um_estimated") && json["pixel_size_um_estimated"].is_number())
    source.mpp = json["pixel_size_um_estimated"].get<double>(), source.mpp_from = path.filename().string();
}

void find_hest(const fs::path& root, const char* expression, Layout& layout) {
  for (const std::string& name : stems(root / expression, ".h5ad")) {
    Source s;
    s.sample = name;
    s.counts = s.spots = (root / expression / (name + ".h5ad")).string();
    s.image = existing({root / "wsis" / (name + ".tif"), root / "wsis" / (name + ".tiff"), root / "wsis" / (name + ".png"),
                        root / "wsis" / (name + ".jpg")});
    s.patches = existing({root / "patches" / (name + ".h5")});
    read_metadata(root / "metadata" / (name + ".json"), s);
    layout.sources.push_back(std::move(s));
  }
}

void find_stimage(const fs::path& root, Layout& layout) {
  for (const std::string& name : stems(root / "coord", "_coord.csv")) {
    Source s;
    s.sample = name;
    s.spots = (root / "coord" / (name + "_coord.csv")).string();
    s.counts = existing({root / "gene_exp" / (name + "_count.csv"), root / "gene_exp" / (name + "_count.csv.gz")});
    s.image = existing({root / "image" / (name + ".png"), root / "image" / (name + ".jpg")});
    if (s.counts.empty() || s.image.empty())
      layout.warnings.push_back(fmt::format("{}: no {}, left out", name, s.counts.empty() ? "gene_exp/" + name + "_count.csv" : "image"));
    else layout.sources.push_back(std::move(s));
  }
}

bool find_all_tenx(const std::string& folder, Layout& layout) {
  Source s;
  if (find_tenx(folder, s, layout.warnings)) {
    layout.sources.push_back(std::move(s));
    return true;
  }
  std::vector<std::string> folders;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->is_directory(error)) folders.push_back(it->path().string());
  std::sort(folders.begin(), folders.end());
  for (const std::string& f : folders) {
    Source one;
    const std::string outs = (fs::path(f) / "outs").string();
    if (find_tenx(fs::is_directory(outs) ? outs : f, one, layout.warnings)) layout.sources.push_back(std::move(one));
  }
  return !layout.sources.empty();
}

}  // namespace

bool find_spatial(const std::string& folder, Layout& layout) {
  const fs::path root(folder);
  auto found = [&](const char* name) {
    layout.name = name;
    return !layout.sources.empty() || !layout.warnings.empty();
  };
  if (find_all_tenx(folder, layout)) return found("Space Ranger");
  if (is_hest_bench(folder)) find_hest(root, "adata", layout);
  if (found("HEST-bench")) return true;
  find_hest(root, "st", layout);
  if (found("HEST-1k")) return true;
  for (const char* technology : {"", "ST", "Visium", "VisiumHD"}) find_stimage(root / technology, layout);
  if (found("STImage-1K4M")) return true;
  for (const std::string& name : stems(root, ".h5ad")) {
    const Layout one = section_file((root / (name + ".h5ad")).string());
    layout.sources.push_back(one.sources[0]);
  }
  return found("h5ad");
}

}  // namespace stflow
