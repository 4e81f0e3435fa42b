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
JsonOut json_of(const Totals& t) {
  return {{"total_per_spot", {{"median", t.median}, {"min", t.least}, {"max", t.most}}},
          {"genes_per_spot_median", t.present},
          {"zeros", t.zeros},
          {"empty_spots", t.empty}};
}

std::string totals_text(const JsonOut& json) {
  const auto number = [](const JsonOut& v) { return shortest(v.get<double>()); };
  const JsonOut& total = json["total_per_spot"];
  return fmt::format("total per spot: median {} ({}-{}), {} genes per spot, {:.1f} % zeros\n", number(total["median"]),
                     number(total["min"]), number(total["max"]), number(json["genes_per_spot_median"]), 100 * json["zeros"].get<double>());
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
  if (!s.counts.empty()) json.update(json_of(totals_of(s.counts, int64_t(s.genes.size()))));
  if (s.filed.rows != s.size()) json["counts_file"] = json_of(s.filed), json["counts_file"]["spots"] = s.filed.rows;
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
  for (const JsonOut& w : json["warnings"]) text += "warning: " + w.get<std::string>() + "\n";
  for (const JsonOut& s : json["sections"]) {
    text += "\n" + s["sample"].get<std::string>() + "\n";
    if (s.contains("read_spots"))
      text += fmt::format("  {} spots, {} genes{}\n", s["read_spots"].get<int64_t>(), s["genes"].get<int64_t>(),
                          s["gene_ids"].get<bool>() ? " with ids" : "");
    if (s.contains("total_per_spot")) text += "  " + totals_text(s);
    if (s.contains("counts_file"))
      text += fmt::format("  all {} spots of the counts: {}", s["counts_file"]["spots"].get<int64_t>(), totals_text(s["counts_file"]));
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
