#include "data/prediction/prediction.h"

#include <algorithm>
#include <array>

#include "data/csv.h"
#include "data/prediction/formats.h"
#include "engine/error.h"

namespace stflow {
namespace {

constexpr std::array<std::string_view, 4> kFormats{".h5ad", ".csv", ".geojson", ".geojson.gz"};

std::string_view format_of(const std::string& path) {
  const auto* found = std::find_if(kFormats.begin(), kFormats.end(), [&](std::string_view end) { return path.ends_with(end); });
  return found == kFormats.end() ? std::string_view() : *found;
}

void check_sizes(const std::string& path, const PredictionFile& p) {
  check(p.section != nullptr, "{}: no section", path);
  const size_t n = p.section->spots.size(), g = p.genes.size();
  auto of_size = [&](const std::string& what, size_t found, size_t expected) {
    check(found == expected, "{}: {}: {} values, expected {} for {} spots and {} genes", path, what, found, expected, n, g);
  };
  of_size("mean", p.mean.size(), n * g);
  of_size("xy", p.section->xy.size(), 2 * n);
  if (!p.gene_ids.empty()) of_size("gene_ids", p.gene_ids.size(), g);
  for (const auto& [name, values] : p.layers) of_size(name, values.size(), n * g);
  for (const auto& [name, values] : p.gene_columns) of_size(name, values.size(), g);
  for (const auto& [name, values] : p.spot_columns) of_size(name, values.size(), n);
}

}  // namespace

std::span<const std::string_view> prediction_formats() { return kFormats; }

void check_prediction_name(const std::string& path) {
  if (!format_of(path).empty()) return;
  std::string all;
  for (size_t i = 0; i < kFormats.size(); i++)
    all += std::string(i == 0 ? "" : i + 1 < kFormats.size() ? ", " : " or ") + std::string(kFormats[i]);
  fail(Exit::usage, "{}: a prediction of unknown format, expected a name that ends with {}", path, all);
}

void write_prediction(const std::string& path, const PredictionFile& p) {
  check_prediction_name(path);
  check_sizes(path, p);
  const std::string_view format = format_of(path);
  if (format == ".csv") write_predictions(path, *p.section, p.genes, p.mean);
  else if (format == ".h5ad") write_h5ad(path, p);
  else write_geojson(path, p, format == ".geojson.gz");
}

}  // namespace stflow
