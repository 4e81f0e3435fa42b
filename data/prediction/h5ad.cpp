// The layout is anndata's "on-disk format" of version 0.8 and later, in which each group and array says by two attributes what it is.
#include <cmath>
#include <limits>

#include "data/hdf5_write.h"
#include "data/prediction/formats.h"
#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// A name below a group: AnnData's keys are HDF5 names, in which a slash would open another group.
std::string key(std::string name) {
  for (char& c : name)
    if (c == '/' || c == '\0') c = '_';
  return name.empty() || name == "." || name == ".." ? "section" : name;
}

/// An Hdf5Writer that says of everything what it is.
class AnnData {
 public:
  explicit AnnData(const std::string& path) : file_(path) { is("/", "anndata", "0.1.0"); }

  void dict(const std::string& name) {
    file_.group(name);
    is(name, "dict", "0.1.0");
  }
  template <class T> void array(const std::string& name, const std::vector<int64_t>& shape, const T* values, int gzip = 0) {
    file_.numbers<T>(name, shape, values, {.gzip = gzip});
    is(name, "array", "0.2.0");
  }
  void array(const std::string& name, const std::vector<std::string>& values) {
    file_.strings(name, {int64_t(values.size())}, values);
    is(name, "string-array", "0.2.0");
  }
  template <class T> void scalar(const std::string& name, T value) {
    file_.numbers<T>(name, {}, &value);
    is(name, "numeric-scalar", "0.2.0");
  }
  void scalar(const std::string& name, const std::string& text) {
    file_.strings(name, {}, {text});
    is(name, "string", "0.2.0");
  }
  void table(const std::string& name, const std::vector<std::string>& index) {
    file_.group(name);
    is(name, "dataframe", "0.2.0");
    file_.attribute(name, "_index", "_index");
    array(name + "/_index", index);
    columns_.clear();
  }
  template <class... A> void column(const std::string& table, const std::string& name, const A&... content) {
    columns_.push_back(key(name));
    array(table + "/" + columns_.back(), content...);
  }
  /// After the last column.
  void end_table(const std::string& table) { file_.attribute(table, "column-order", columns_); }
  void link(const std::string& there, const std::string& name) { file_.link(there, name); }
  void commit() { file_.commit(); }

 private:
  void is(const std::string& name, const char* type, const char* version) {
    file_.attribute(name, "encoding-type", type);
    file_.attribute(name, "encoding-version", version);
  }

  Hdf5Writer file_;
  std::vector<std::string> columns_;
};

/// Whole numbers of a spot column; `otherwise` where there is none.
std::vector<int64_t> whole(const PredictionFile& p, const std::string& name, std::vector<int64_t> otherwise) {
  const auto found = p.spot_columns.find(name);
  if (found == p.spot_columns.end()) return otherwise;
  std::vector<int64_t> values;
  for (float v : found->second) values.push_back(std::llround(v));
  return values;
}

/// Column and row of spots that are named by them, as legacy arrays do ("12x7"); empty if one is not.
std::vector<int64_t> grid_of(const std::vector<std::string>& spots, bool row) {
  std::vector<int64_t> places;
  for (const std::string& s : spots) {
    const size_t x = s.find('x');
    if (x == std::string::npos) return {};
    const auto left = parse_integer(std::string_view(s).substr(0, x)), right = parse_integer(std::string_view(s).substr(x + 1));
    if (!left || !right) return {};
    places.push_back(row ? *right : *left);
  }
  return places;
}

void put_spots(AnnData& file, const PredictionFile& p) {
  const Section& s = *p.section;
  const int64_t n = s.size();
  file.table("obs", s.spots);
  auto put = [&](const char* name, const std::vector<int64_t>& values) {
    if (int64_t(values.size()) == n) file.column("obs", name, std::vector<int64_t>{n}, values.data());
  };
  put("in_tissue", whole(p, "in_tissue", std::vector<int64_t>(size_t(n), 1)));
  put("array_row", whole(p, "array_row", grid_of(s.spots, true)));
  put("array_col", whole(p, "array_col", grid_of(s.spots, false)));
  for (const size_t axis : {size_t(1), size_t(0)}) {
    std::vector<double> places;
    for (size_t i = axis; i < s.xy.size(); i += 2) places.push_back(s.xy[i]);
    file.column("obs", axis == 1 ? "pxl_row_in_fullres" : "pxl_col_in_fullres", std::vector<int64_t>{n}, places.data());
  }
  for (const auto& [name, values] : p.spot_columns)
    if (name != "in_tissue" && name != "array_row" && name != "array_col") file.column("obs", name, std::vector<int64_t>{n}, values.data());
  file.end_table("obs");
  file.dict("obsm");
  file.array("obsm/spatial", {n, 2}, s.xy.data());
}

void put_genes(AnnData& file, const PredictionFile& p) {
  file.table("var", p.genes);
  if (!p.gene_ids.empty()) file.column("var", "gene_ids", p.gene_ids);
  for (const auto& [name, values] : p.gene_columns) file.column("var", name, std::vector<int64_t>{int64_t(p.genes.size())}, values.data());
  file.end_table("var");
}

void put_image(AnnData& file, const PredictionFile& p) {
  const Section& s = *p.section;
  file.dict("uns");
  file.dict("uns/spatial");
  const std::string at = "uns/spatial/" + key(s.sample());
  for (const char* part : {"", "/images", "/scalefactors", "/metadata"}) file.dict(at + part);
  if (p.hires) {
    check(p.hires_scale > 0 && int64_t(p.hires->rgb.size()) == 3 * p.hires->width * p.hires->height, "the image of {}: {} bytes, scale {}",
          s.sample(), p.hires->rgb.size(), p.hires_scale);
    file.array(at + "/images/hires", {p.hires->height, p.hires->width, 3}, p.hires->rgb.data(), 4);
    file.link(at + "/images/hires", at + "/images/downscaled_fullres");
  }
  const double scale = p.hires ? p.hires_scale : kUnknown, diameter = p.spot_diameter > 0 ? p.spot_diameter : kUnknown;
  file.scalar(at + "/scalefactors/tissue_hires_scalef", scale);
  file.scalar(at + "/scalefactors/tissue_downscaled_fullres_scalef", scale);
  file.scalar(at + "/scalefactors/spot_diameter_fullres", diameter);
  file.scalar(at + "/scalefactors/fiducial_diameter_fullres", kUnknown);
  file.scalar(at + "/metadata/width", s.width);
  file.scalar(at + "/metadata/height", s.height);
  file.scalar(at + "/metadata/mpp", s.mpp > 0 ? s.mpp : kUnknown);
}

}  // namespace

void write_h5ad(const std::string& path, const PredictionFile& p) {
  const std::vector<int64_t> shape{p.section->size(), int64_t(p.genes.size())};
  AnnData file(path);
  file.array("X", shape, p.mean.data());
  file.dict("layers");
  file.link("X", "layers/mean");
  for (const auto& [name, values] : p.layers) file.array("layers/" + key(name), shape, values.data());
  put_spots(file, p);
  put_genes(file, p);
  put_image(file, p);
  file.dict("uns/stflow");
  for (const auto& [name, text] : p.about) file.scalar("uns/stflow/" + key(name), text);
  for (const char* empty : {"varm", "obsp", "varp"}) file.dict(empty);
  file.commit();
}

}  // namespace stflow
