#include "data/slide/mpp.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/table.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

constexpr double kLeast = 0.05, kMost = 10, kApart = 1.05;

std::string_view trimmed(std::string_view s) {
  const size_t from = s.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return s.substr(from, s.find_last_not_of(" \t\r\n") - from + 1);
}

/// The text after `key` and an equals sign in "a = 1|b = 2" or lines; empty if it is not there.
std::string_view after_key(std::string_view text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find_first_of("|\n", at);
    if (end == std::string_view::npos) end = text.size();
    const std::string_view field = text.substr(at, end - at);
    const size_t equals = field.find('=');
    if (equals != std::string_view::npos && trimmed(field.substr(0, equals)) == key) return trimmed(field.substr(equals + 1));
    at = end + 1;
  }
  return {};
}

/// The value of an XML attribute in one element's text.
std::string_view attribute(std::string_view element, std::string_view name) {
  const std::string start = fmt::format(" {}=\"", name);
  const size_t at = element.find(start);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = element.substr(at + start.size());
  return rest.substr(0, rest.find('"'));
}

/// Microns in one of OME's units of length.
std::optional<double> microns_in(std::string_view unit) {
  if (unit.empty() || unit == "um" || unit == "\xc2\xb5m" || unit == "\xce\xbcm" || unit == "&#181;m" || unit == "micron" ||
      unit == "microns")
    return 1;
  if (unit == "nm") return 1e-3;
  if (unit == "mm") return 1e3;
  if (unit == "cm") return 1e4;
  if (unit == "m") return 1e6;
  if (unit == "in" || unit == "inch") return 25400;
  return std::nullopt;
}

void ome(std::string_view xml, std::vector<MppClaim>& claims) {
  const size_t at = xml.find("<Pixels");
  if (at == std::string_view::npos) return;
  const std::string_view pixels = xml.substr(at, xml.find('>', at) - at);
  const auto x = parse_number(attribute(pixels, "PhysicalSizeX")), y = parse_number(attribute(pixels, "PhysicalSizeY"));
  const auto ux = microns_in(attribute(pixels, "PhysicalSizeXUnit")), uy = microns_in(attribute(pixels, "PhysicalSizeYUnit"));
  if (x && ux) claims.push_back({"OME PhysicalSizeX", *x * *ux, y && uy ? *y * *uy : *x * *ux});
}

std::string text_of(const MppClaim& c) {
  const bool same = c.x == c.y || (std::isnan(c.x) && std::isnan(c.y));
  return same ? fmt::format("{} {:.4g}", c.from, c.x) : fmt::format("{} {:.4g} x {:.4g}", c.from, c.x, c.y);
}

bool plausible(double v) { return v >= kLeast && v <= kMost; }  // false for NaN
bool agree(double a, double b) { return std::max(a, b) <= kApart * std::min(a, b); }

std::optional<double> of_table(const std::string& path, const std::map<std::string, double>& table) {
  const fs::path p(path);
  for (const std::string& name : {path, p.filename().string(), p.stem().string()})
    if (const auto it = table.find(name); it != table.end()) return it->second;
  return std::nullopt;
}

}  // namespace

std::vector<MppClaim> mpp_claims_of(const TiffPage& p) {
  std::vector<MppClaim> claims;
  const std::string_view text = p.description;
  if (text.starts_with("Aperio")) {
    const std::string_view value = after_key(text, "MPP");
    if (const auto x = parse_number(value)) claims.push_back({"Aperio MPP", *x, *x});
  }
  if (text.find("<OME") != std::string_view::npos) ome(text, claims);
  const double rx = p.resolution[0], ry = p.resolution[1] > 0 ? p.resolution[1] : rx;
  if (!(rx > 0)) return claims;
  const std::string_view unit = text.starts_with("ImageJ") ? after_key(text, "unit") : std::string_view{};
  const auto own = unit == "\\u00B5m" ? std::optional<double>(1) : unit.empty() ? std::nullopt : microns_in(unit);
  const double per = own ? *own : p.unit == 3 ? 10000 : p.unit == 2 ? 25400 : 0;
  if (per > 0) claims.push_back({own ? "ImageJ unit" : "TIFF XResolution", per / rx, per / ry});
  return claims;
}

std::vector<MppClaim> mpp_sidecar(const std::string& path) {
  const fs::path p(path);
  std::vector<MppClaim> claims;
  for (const fs::path& file :
       {p.parent_path() / (p.stem().string() + ".json"), p.parent_path() / ".." / "metadata" / (p.stem().string() + ".json")}) {
    std::error_code none;
    if (!fs::is_regular_file(file, none)) continue;
    const Json json = read_json(file.string());
    if (!json.is_object()) continue;
    const auto it = json.find("pixel_size_um_estimated");
    if (it == json.end() || !it->is_number()) continue;
    claims.push_back({file.filename().string() + " pixel_size_um_estimated", it->get<double>(), it->get<double>()});
    break;
  }
  return claims;
}

MppResult resolve_mpp(const std::string& path, const std::vector<MppClaim>& claims, const SlideOptions& options) {
  MppResult r;
  const std::optional<double> listed_mpp = of_table(path, options.mpp_of);
  if (options.mpp > 0 || listed_mpp) {
    r.value = options.mpp > 0 ? options.mpp : *listed_mpp;
    r.from = options.mpp > 0 ? "--mpp" : "--mpp-csv";
    return r;
  }
  std::string all;
  std::vector<double> values;
  for (const MppClaim& c : claims) {
    if (!plausible(c.x) || !plausible(c.y)) {
      r.warnings.push_back(fmt::format("{}: {} microns per pixel, not used: expected {} to {}", path, text_of(c), kLeast, kMost));
      continue;
    }
    all += (all.empty() ? "" : ", ") + text_of(c);
    r.from += (r.from.empty() ? "" : ", ") + c.from;
    values.push_back(c.x), values.push_back(c.y);
    if (c.x != c.y && agree(c.x, c.y))
      r.warnings.push_back(fmt::format("{}: {} microns per pixel differ along the axes; their mean is used", path, text_of(c)));
  }
  if (values.empty()) {
    r.problem = fmt::format(
        "{}: no microns per pixel: tried Aperio MPP, TIFF XResolution, OME PhysicalSizeX, sidecar JSON{}, expected one of them; pass --mpp",
        path, claims.empty() ? "" : " (found " + text_of(claims[0]) + ", not plausible)");
    return r;
  }
  if (!agree(*std::min_element(values.begin(), values.end()), *std::max_element(values.begin(), values.end()))) {
    r.problem = fmt::format("{}: microns per pixel: {}, expected sources that agree within 5 %; pass --mpp", path, all);
    r.from.clear();
    return r;
  }
  r.value = (values[0] + values[1]) / 2;  // of the first source: the most exact one comes first
  return r;
}

std::map<std::string, double> read_mpp_csv(const std::string& path) {
  const FileView file(path);
  Table table(file.text(), path, ',');
  const size_t wsi = table.column("wsi"), mpp = table.column("mpp");
  std::map<std::string, double> all;
  while (table.next()) {
    const double value = table.number(mpp);
    if (!plausible(value)) table.refuse(mpp, fmt::format("{} microns per pixel, expected {} to {}", value, kLeast, kMost));
    if (!all.emplace(std::string(table.cell(wsi)), value).second)
      table.refuse(wsi, shown(table.cell(wsi)) + " a second time, expected each slide once");
  }
  return all;
}

}  // namespace stflow
