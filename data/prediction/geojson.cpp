#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "data/prediction/formats.h"
#include "data/text_out.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

/// Corners on a circle, or the four of a square, relative to the centre: GeoJSON has no circles.
std::vector<std::pair<double, double>> outline(double diameter, bool square) {
  std::vector<std::pair<double, double>> corners;
  if (!(diameter > 0)) return corners;
  const double r = diameter / 2;
  if (square) return {{-r, -r}, {r, -r}, {r, r}, {-r, r}, {-r, -r}};
  constexpr int kCorners = 16;
  for (int i = 0; i <= kCorners; i++) {  // the first again at the end
    const double angle = 2 * std::numbers::pi * (i % kCorners) / kCorners;
    corners.emplace_back(r * std::cos(angle), r * std::sin(angle));
  }
  return corners;
}

/// A hundredth of a pixel is enough for an outline, and keeps the text short.
std::string corner(double x, double y) { return json_point(std::round(100 * x) / 100, std::round(100 * y) / 100); }

}  // namespace

void write_geojson(const std::string& path, const PredictionFile& p, bool gzip) {
  const Section& s = *p.section;
  TextOut out(path, gzip);
  const auto corners = outline(p.spot_diameter, p.square_spots);
  std::vector<std::string> names;
  for (const std::string& g : p.genes) names.push_back(quoted(g) + ":");
  out << R"({"type":"FeatureCollection","features":[)";
  for (size_t n = 0; n < s.spots.size(); n++) {
    const double x = s.xy[2 * n], y = s.xy[2 * n + 1];
    out << (n > 0 ? ",\n" : "\n") << R"({"type":"Feature","geometry":{"type":)";
    if (corners.empty()) out << R"("Point","coordinates":)" << json_point(x, y);
    else {
      out << R"("Polygon","coordinates":[[)";
      for (size_t i = 0; i < corners.size(); i++) out << (i > 0 ? "," : "") << corner(x + corners[i].first, y + corners[i].second);
      out << "]]";
    }
    out << R"(},"properties":{"objectType":"detection","name":)" << quoted(s.spots[n]) << R"(,"measurements":{)";
    bool first = true;
    for (size_t g = 0; g < names.size(); g++) {
      const float value = p.mean[n * names.size() + g];
      if (!std::isfinite(value)) continue;  // JSON has no such numbers
      out << (first ? "" : ",") << names[g] << shortest(value);
      first = false;
    }
    out << "}}}";
  }
  out << "\n]}\n";
  out.commit();
}

}  // namespace stflow
