#include <algorithm>
#include <cmath>

#include "data/spatial/assemble.h"
#include "data/spatial/h5ad.h"
#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

const std::vector<std::string> kIds = {"gene_ids", "gene_id", "ensembl_id", "ensembl", "ensemblid", "ENSEMBL", "feature_id"};
const std::vector<std::string> kSymbols = {"gene_symbols", "gene_symbol", "gene_names", "gene_name",       "feature_name",
                                           "symbol",       "SYMBOL",      "name",       "gene_short_name", "index"};

/// The texts of the first of these columns that the file has, if they say something of each gene.
std::vector<std::string> first_of(const H5ad& h, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (const auto it = h.var.find(name); it != h.var.end() && it->second.is_text()) return it->second.texts;
  return {};
}

/// The numbers of a column of obs; empty if it has none.
std::vector<double> numbers(const H5ad& h, const char* name) {
  const auto it = h.obs.find(name);
  return it == h.obs.end() || it->second.is_text() ? std::vector<double>{} : it->second.numbers;
}

/// Pairs of two columns; empty unless both are there.
std::vector<double> pairs(const H5ad& h, const char* first, const char* second) {
  const auto a = numbers(h, first), b = numbers(h, second);
  std::vector<double> both;
  for (size_t i = 0; i < std::min(a.size(), b.size()); i++) both.push_back(a[i]), both.push_back(b[i]);
  return both;
}

FoundPlaces places_of(const H5ad& h, const std::string& path) {
  FoundPlaces p;
  p.path = path;
  p.spots = h.barcodes;
  p.xy = h.spatial.empty() ? pairs(h, "pxl_col_in_fullres", "pxl_row_in_fullres") : h.spatial;
  if (p.xy.empty()) fail(Exit::data, "{}: no 'obsm/spatial', expected pixels (spots, 2) of the image", path);
  p.grid = pairs(h, "array_col", "array_row");
  for (const double inside : numbers(h, "in_tissue")) p.in_tissue.push_back(inside != 0);
  return p;
}

FoundCounts counts_of(H5ad& h, const std::string& path) {
  FoundCounts c;
  c.path = path, c.name = h.matrix_name;
  c.spots = h.barcodes;
  const bool ids = are_ids(h.genes);
  c.ids = ids ? h.genes : first_of(h, kIds);
  c.symbols = ids ? first_of(h, kSymbols) : h.genes;
  c.kind = first_of(h, {"feature_types"});
  c.matrix = std::move(h.matrix);
  c.instead = h.matrix_name == "X" ? "; --layer chooses another matrix of the file (raw, counts...)" : "";
  return c;
}

/// The image in the file, if there is one that the spots lie on.
bool use_own_image(Section& s, const H5ad& h, std::vector<std::string>& warnings) {
  for (const SpatialLibrary& l : h.libraries) {
    const std::string image = l.best_image();
    const double scale = image.empty() ? 0 : l.scale_of(image);
    if (!(scale > 0)) continue;
    const auto [width, height] = l.images.at(image);
    const std::string what = fmt::format("the image '{}' of uns/spatial/{}", image, l.id);
    int64_t outside = 0;
    for (size_t i = 0; i < s.spots.size(); i++)
      outside += !(s.xy[2 * i] * scale < double(width) && s.xy[2 * i + 1] * scale < double(height));
    if (100 * outside > s.size()) {  // test data are often cut like this
      warnings.push_back(fmt::format("{}: {} has {} x {} pixels, and {} of {} spots lie outside: it is not used; --image names the slide's",
                                     s.sample(), what, width, height, outside, s.size()));
      return false;
    }
    s.source.image = s.source.counts;
    use_reduced_image(s, scale, what, warnings);
    return true;
  }
  return false;
}

}  // namespace

void read_h5ad_section(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string& path = s.source.counts;
  H5adOptions wanted;
  wanted.layer = options.layer;
  wanted.obs = {"in_tissue", "array_row", "array_col", "pxl_col_in_fullres", "pxl_row_in_fullres"};
  wanted.var = kIds;
  wanted.var.insert(wanted.var.end(), kSymbols.begin(), kSymbols.end());
  wanted.var.emplace_back("feature_types");
  H5ad h = read_h5ad(path, wanted);
  FoundPlaces places = places_of(h, path);
  Bin bin;
  std::vector<double> grid;
  for (const std::string& b : h.barcodes)
    if (read_bin(b, bin)) grid.push_back(double(bin.column)), grid.push_back(double(bin.row));
  if (grid.size() == 2 * h.barcodes.size()) places.grid = grid;
  else bin = {};
  set_counts(s, counts_of(h, path), options, warnings);
  strip_barcodes(places.spots, options, path);
  std::vector<Scale> scales = pitch_scale(places, bin.microns);
  set_places(s, places, options, warnings);
  const bool own = s.source.image.empty() && s.source.patches.empty() && use_own_image(s, h, warnings);
  settle_mpp(s, options, std::move(scales), path, own ? kMostReduced : kMostMpp);
}

}  // namespace stflow
