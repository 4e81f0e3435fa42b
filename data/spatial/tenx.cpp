#include "data/spatial/tenx.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/folder.h"
#include "data/spatial/mex.h"
#include "data/spatial/positions.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
  const Hdf5File file(path);
  std::string group = "matrix";
  if (!file.has(group)) {
    std::vector<std::string> genomes;
    for (const std::string& name : file.names())
      if (file.kind(name) == Hdf5File::Kind::group && file.has(name + "/genes")) genomes.push_back(name);
    if (genomes.size() != 1)
      fail(Exit::data, "{}: found {}, expected a group 'matrix', or one genome's{}", path,
           file.names().empty() ? "nothing" : listed(file.names()), file.has("obs") ? ": is it an .h5ad file?" : "");
    group = genomes[0];
  }
  const bool old = !file.has(group + "/features");
  auto strings = [&](const char* name) {
    const std::string at = fmt::format("{}/{}", group, name);
    return file.has(at) ? file.strings(at) : std::vector<std::string>{};
  };
  const auto barcodes = file.strings(group + "/barcodes");
  const auto ids = file.strings(group + (old ? "/genes" : "/features/id"));
  const auto symbols = strings(old ? "gene_names" : "features/name"), kind = strings("features/feature_type");
  std::vector<int64_t> dims;
  const auto shape = file.array<int64_t>(group + "/shape", dims);
  if (shape.size() != 2 || shape[0] != int64_t(ids.size()) || shape[1] != int64_t(barcodes.size()))
    fail(Exit::data, "{}: dataset '{}/shape': {} x {}, expected {} features x {} barcodes", path, group, shape.empty() ? 0 : shape[0],
         shape.size() < 2 ? 0 : shape[1], ids.size(), barcodes.size());
  for (const auto* names : {&symbols, &kind})
    if (!names->empty() && names->size() != ids.size())
      fail(Exit::data, "{}: '{}': {} names or kinds of features, expected {}", path, group, names->size(), ids.size());
  std::string answer;
  append(answer, group), append(answer, barcodes), append(answer, ids), append(answer, symbols), append(answer, kind);
  // Compressed by columns, and a column is a barcode: as rows of barcodes that is compressed by rows.
  append(answer, read_compressed(file, path, group, shape[1], shape[0], true));
  return answer;
}

/// The name of a section by its folder: what is above "outs", "binned_outputs" and the like.
std::string sample_of(const fs::path& folder) {
  fs::path at = fs::absolute(folder).lexically_normal();
  if (at.filename().empty()) at = at.parent_path();
  const std::string own = at.filename().string();
  const bool bin = own.starts_with("square_");
  if (bin) at = at.parent_path();
  while (at.filename() == "binned_outputs" || at.filename() == "outs") at = at.parent_path();
  const std::string name = at.filename().string();
  return (name.empty() ? "section" : name) + (bin ? "_" + own : "");
}

/// filtered_feature_bc_matrix.h5, also behind a sample's name as 10x publishes it; or the folder.
std::string counts_in(const fs::path& folder) {
  const std::string wanted = "filtered_feature_bc_matrix.h5";
  if (std::string plain = existing({folder / wanted}); !plain.empty()) return plain;
  for (const std::string& name : entries(folder))
    if (name.ends_with("_" + wanted)) return (folder / name).string();
  for (const char* name : {"filtered_feature_bc_matrix", "filtered_gene_bc_matrices"}) {
    if (!existing({folder / name / "matrix.mtx", folder / name / "matrix.mtx.gz"}).empty()) return (folder / name).string();
    const auto genomes = entries(folder / name);  // before version 3 a folder for each genome
    if (genomes.size() == 1 && !existing({folder / name / genomes[0] / "matrix.mtx"}).empty()) return (folder / name / genomes[0]).string();
  }
  return "";
}

/// Space Ranger's scale factors, and where they and the images are; empty if there are none.
struct Spatial {
  std::string folder;
  Json factors = Json::object();
  [[nodiscard]] double factor(const std::string& name) const {
    return factors.contains(name) && factors[name].is_number() ? factors[name].get<double>() : 0;
  }
};

Spatial spatial_of(const Source& source) {
  for (const fs::path& folder : {fs::path(folder_of(source.spots)), fs::path(folder_of(source.counts)) / "spatial"}) {
    const std::string file = existing({folder / "scalefactors_json.json"});
    if (file.empty()) continue;
    Spatial s{folder.string(), read_json(file)};
    if (!s.factors.is_object()) fail(Exit::data, "{}: no object, expected scale factors", file);
    return s;
  }
  return {folder_of(source.spots)};
}

}  // namespace

FoundCounts read_tenx_h5(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] { return read_file(path); });
  Answer rest(answer, path);
  FoundCounts c;
  c.path = path;
  c.name = rest.text();
  c.spots = rest.texts(), c.ids = rest.texts(), c.symbols = rest.texts(), c.kind = rest.texts();
  c.matrix = take_matrix(rest);
  return c;
}

bool find_tenx(const std::string& folder, Source& source, std::vector<std::string>& warnings) {
  const fs::path root(folder);
  if (fs::is_directory(root / "binned_outputs")) {
    std::vector<std::string> bins = entries(root / "binned_outputs");
    std::erase_if(bins, [](const std::string& n) { return !n.starts_with("square_"); });
    const bool usual = std::find(bins.begin(), bins.end(), "square_016um") != bins.end();
    if (!usual && bins.size() != 1)
      fail(Exit::data, "{}: bins {}, expected square_016um or only one; name the folder of one", folder,
           bins.empty() ? "none" : listed(bins));
    const std::string bin = usual ? "square_016um" : bins[0];
    if (bins.size() > 1)
      warnings.push_back(fmt::format("{}: of {} the bins {} are taken; name another one's folder", folder, listed(bins), bin));
    return find_tenx((root / "binned_outputs" / bin).string(), source, warnings);
  }
  source.counts = counts_in(root);
  const fs::path spatial = root / "spatial";
  if (source.counts.empty() || !fs::is_directory(spatial)) return false;
  source.sample = sample_of(root);
  source.spots = existing({spatial / "tissue_positions.csv", spatial / "tissue_positions_list.csv"});
  if (!source.spots.empty()) return true;
  source.spots = existing({root / "feature_slice.h5", root / ".." / ".." / "feature_slice.h5"});
  if (source.spots.empty() && fs::exists(spatial / "tissue_positions.parquet"))
    fail(Exit::data,
         "{}: Parquet, expected tissue_positions.csv, or feature_slice.h5 two folders above; convert it: python3 -c \"import pandas; "
         "pandas.read_parquet('tissue_positions.parquet').to_csv('tissue_positions.csv', index=False)\"",
         (spatial / "tissue_positions.parquet").string());
  if (source.spots.empty())
    fail(Exit::data, "{}: no tissue_positions.csv and no tissue_positions_list.csv, expected one", spatial.string());
  return true;
}

void read_tenx_section(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string &counts = s.source.counts, &spots = s.source.spots;
  set_counts(s, fs::is_directory(counts) ? read_mex(counts) : read_tenx_h5(counts), options, warnings);
  FoundPlaces places = spots.ends_with(".h5") ? read_feature_slice(spots, s.spots) : read_positions(FileView(spots).text(), spots);
  strip_barcodes(places.spots, options, spots);
  Bin bin;
  if (!read_bin(s.spots[0], bin)) bin = {};
  std::vector<Scale> scales = pitch_scale(places, bin.microns);
  const Spatial spatial = spatial_of(s.source);
  if (const double mpp = spatial.factor("microns_per_pixel"); mpp > 0) scales.insert(scales.begin(), {mpp, "scalefactors_json.json"});
  set_places(s, places, options, warnings);
  if (s.source.image.empty())
    for (const std::string size : {"hires", "lowres"}) {
      const fs::path folder(spatial.folder);
      const std::string name = "tissue_" + size + "_image";
      const std::string image = existing({folder / (name + ".png"), folder / (name + ".jpg"), folder / (name + ".jpeg")});
      const double scale = spatial.factor("tissue_" + size + "_scalef");
      if (image.empty() || !(scale > 0)) continue;
      s.source.image = image;
      use_reduced_image(s, scale, fs::path(image).filename().string(), warnings);
      break;
    }
  settle_mpp(s, options, std::move(scales), spots);
}

}  // namespace stflow
