#include "tools/inspect/sections.h"

#include <algorithm>
#include <filesystem>

#include "data/dataset.h"
#include "data/manifest.h"
#include "data/spatial/h5ad.h"
#include "data/spatial/hest_bench.h"
#include "engine/error.h"
#include "engine/text.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

/// Totals per spot and the share of zeros.
void add_totals(JsonOut& json, const Section& s) {
  std::vector<double> totals, genes;
  for (int64_t n = 0; n < s.counts.rows(); n++)
    totals.push_back(s.counts.total(n)), genes.push_back(double(s.counts.last(n) - s.counts.first(n)));
  if (totals.empty()) return;
  auto median = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
  };
  json["total_per_spot"] = {{"median", median(totals)}, {"min", totals.front()}, {"max", totals.back()}};
  json["genes_per_spot_median"] = median(genes);
  json["zeros"] = 1 - double(s.counts.value.size()) / (double(s.size()) * double(s.genes.size()));
  json["empty_spots"] = std::count(totals.begin(), totals.end(), 0.0);
}

JsonOut describe_section(const Source& source, DataOptions options) {
  JsonOut json{{"sample", source.sample}};
  for (const auto& [key, value] :
       {std::pair{"counts", &source.counts}, {"spots", &source.spots}, {"patches", &source.patches}, {"patient", &source.patient}})
    if (!value->empty()) json[key] = *value;
  Section s;
  std::vector<std::string> warnings;
  auto read = [&] {
    s = {}, warnings.clear();
    s.source = source;
    read_section(s, options, warnings);
  };
  try {
    try {
      read();
    } catch (const Error& e) {
      json["problem"] = std::string(e.what());
      options.values = Values::any;  // what is there is described all the same
      read();
    }
  } catch (const Error& e) {
    json["problem"] = json.value("problem", std::string(e.what()));
    return json;
  }
  json["read_spots"] = s.size(), json["genes"] = s.genes.size();
  json["gene_ids"] = !s.gene_ids.empty();
  add_totals(json, s);
  if (s.width > 0) json["image"] = {{"file", s.source.image}, {"width", s.width}, {"height", s.height}, {"reduced", s.reduced}};
  if (s.mpp > 0) json["mpp"] = s.mpp, json["mpp_from"] = s.mpp_from;
  if (s.feature_dim > 0) json["features"] = s.feature_dim;
  if (!s.unmatched_where.empty()) warnings.push_back(s.unmatched_where);
  if (source.counts.ends_with(".h5ad")) json["holds"] = h5ad_names(source.counts);
  if (!warnings.empty()) json["warnings"] = warnings;
  return json;
}

}  // namespace

bool is_spatial(const std::string& path) {
  if (fs::is_directory(path)) return is_data_set(path);
  return is_section_file(path) || path.ends_with(".csv");
}

JsonOut describe_spatial(const std::string& path, const DataOptions& options) {
  const Layout layout = layout_of(path);
  JsonOut json{{"path", path}, {"layout", layout.name}};
  json["warnings"] = layout.warnings;
  if (fs::is_directory(path) && is_hest_bench(path)) {
    const HestBench bench = read_hest_bench(path);
    json["folds"] = bench.folds.size(), json["panel"] = bench.genes.size();
  }
  json["sections"] = JsonOut::array();
  for (const Source& source : layout.sources) json["sections"].push_back(describe_section(source, options));
  return json;
}

std::string spatial_text(const JsonOut& json) {
  std::string text = fmt::format("{}: {}, {} section{}\n", json["path"].get<std::string>(), json["layout"].get<std::string>(),
                                 json["sections"].size(), json["sections"].size() == 1 ? "" : "s");
  if (json.contains("folds")) text += fmt::format("{} folds, {} genes to predict\n", json["folds"].get<int>(), json["panel"].get<int>());
  auto number = [](const JsonOut& v) { return shortest(v.get<double>()); };
  for (const JsonOut& w : json["warnings"]) text += "warning: " + w.get<std::string>() + "\n";
  for (const JsonOut& s : json["sections"]) {
    text += "\n" + s["sample"].get<std::string>() + "\n";
    if (s.contains("read_spots"))
      text += fmt::format("  {} spots, {} genes{}\n", s["read_spots"].get<int64_t>(), s["genes"].get<int64_t>(),
                          s["gene_ids"].get<bool>() ? " with ids" : "");
    if (s.contains("total_per_spot"))
      text += fmt::format("  total per spot: median {} ({}-{}), {} genes per spot, {:.1f} % zeros\n", number(s["total_per_spot"]["median"]),
                          number(s["total_per_spot"]["min"]), number(s["total_per_spot"]["max"]), number(s["genes_per_spot_median"]),
                          100 * s["zeros"].get<double>());
    if (s.contains("image"))
      text += fmt::format("  image {} x {}: {}\n", s["image"]["width"].get<int64_t>(), s["image"]["height"].get<int64_t>(),
                          s["image"]["file"].get<std::string>());
    else if (s.contains("read_spots")) text += "  no image\n";
    if (s.contains("mpp"))
      text += fmt::format("  {:.4g} um per pixel of it ({})\n", s["mpp"].get<double>(), s["mpp_from"].get<std::string>());
    else if (s.contains("read_spots")) text += "  um per pixel unknown: --mpp says them\n";
    if (s.contains("holds")) text += fmt::format("  holds {}\n", listed(s["holds"].get<std::vector<std::string>>(), 40));
    for (const JsonOut& w : s.value("warnings", JsonOut::array())) text += "  warning: " + w.get<std::string>() + "\n";
    if (s.contains("problem")) text += "  problem: " + s["problem"].get<std::string>() + "\n";
  }
  return text;
}

void inspect_spatial(const std::string& path, const DataOptions& options) {
  const JsonOut json = describe_spatial(path, options);
  if (terminal::settings().json) print_json(json);
  else terminal::result(spatial_text(json));
}

}  // namespace stflow
