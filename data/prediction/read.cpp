#include "data/prediction/read.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "data/spatial/h5ad.h"
#include "data/table.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

bool all_digits(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_wanted(const std::string& layer) {
  return layer == "std" || quantile_of_layer(layer) > 0 || (layer.starts_with("sample_") && all_digits(std::string_view(layer).substr(7)));
}

void check_unique(const std::string& path, const std::string& what, const std::vector<std::string>& names) {
  std::set<std::string_view> seen;
  for (const std::string& name : names)
    if (!seen.insert(name).second) fail(Exit::data, "{}: {} {} a second time, expected each once", path, what, shown(name));
}

void check_names(const ReadPrediction& p) {
  if (p.spots.empty() || p.genes.empty())
    fail(Exit::data, "{}: {} spots and {} genes, expected at least one of each", p.path, p.spots.size(), p.genes.size());
  check_unique(p.path, "spot", p.spots);
  check_unique(p.path, "gene", p.genes);
}

void check_finite(const ReadPrediction& p, const std::string& what, const std::vector<float>& values) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return;
  const auto at = size_t(bad - values.begin());
  fail(Exit::data, "{}: {}: {} for spot {} and gene {}, expected a finite number", p.path, what, *bad, shown(p.spots[at / p.genes.size()]),
       shown(p.genes[at % p.genes.size()]));
}

std::vector<float> matrix_of(const ReadPrediction& p, const std::string& name) {
  FloatMatrix m = read_h5ad_matrix(p.path, name);
  if (m.rows != int64_t(p.spots.size()) || m.columns != int64_t(p.genes.size()))
    fail(Exit::data, "{}: {}: {} x {} values, expected {} spots x {} genes", p.path, name, m.rows, m.columns, p.spots.size(),
         p.genes.size());
  check_finite(p, name, m.values);
  return std::move(m.values);
}

void read_file(ReadPrediction& p) {
  H5adOptions names_only;
  names_only.matrix = false;
  H5ad file = read_h5ad(p.path, names_only);
  p.spots = std::move(file.barcodes), p.genes = std::move(file.genes);
  check_names(p);
  p.mean = matrix_of(p, "X");
  for (const std::string& name : h5ad_names(p.path))
    if (name.starts_with("layers/") && is_wanted(name.substr(7))) p.layers[name.substr(7)] = matrix_of(p, name);
}

}  // namespace

bool is_prediction_table(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text.starts_with("spot,x,y,");
}

double quantile_of_layer(const std::string& name) {
  if (!name.starts_with("q") || !all_digits(std::string_view(name).substr(1))) return 0;
  return parse_number("0." + name.substr(1)).value_or(0);
}

ReadPrediction read_prediction_table(std::string_view text, const std::string& path) {
  ReadPrediction p;
  p.path = path, p.sample = fs::path(path).stem().string();
  Table table(text, path, ',');
  const auto& header = table.header();
  if (header.size() < 4 || header[0] != "spot" || header[1] != "x" || header[2] != "y")
    fail(Exit::data, "{}: line 1: {}, expected spot,x,y and genes", path, listed(header, 4));
  p.genes.assign(header.begin() + 3, header.end());
  while (table.next()) {
    p.spots.emplace_back(table.cell(0));
    for (size_t c = 3; c < header.size(); c++) p.mean.push_back(float(table.number(c)));
  }
  check_names(p);
  check_finite(p, "the table", p.mean);
  return p;
}

ReadPrediction read_prediction(const std::string& path) {
  if (path.ends_with(".csv")) return read_prediction_table(FileView(path).text(), path);
  if (!path.ends_with(".h5ad")) fail(Exit::usage, "{}: a prediction of unknown format, expected a name that ends with .h5ad or .csv", path);
  ReadPrediction p;
  p.path = path, p.sample = fs::path(path).stem().string();
  read_file(p);
  return p;
}

std::vector<std::string> prediction_files(const std::string& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().string();
    if (entry.is_regular_file() && (name.ends_with(".h5ad") || name.ends_with(".csv"))) files.push_back(name);
  }
  if (files.empty()) fail(Exit::missing, "{}: no .h5ad or .csv file, expected predictions", path);
  std::sort(files.begin(), files.end());
  for (size_t i = 1; i < files.size(); i++)
    if (fs::path(files[i]).stem() == fs::path(files[i - 1]).stem())
      fail(Exit::data, "{}: {} and {}, expected one prediction of a sample", path, fs::path(files[i - 1]).filename().string(),
           fs::path(files[i]).filename().string());
  return files;
}

}  // namespace stflow
