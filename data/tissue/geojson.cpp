#include "data/tissue/geojson.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/lines.h"
#include "data/text_out.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr double kFarthest = 1e9;
constexpr size_t kMostText = size_t(64) << 20;

// The whole text, inflated if it is gzip.
std::string text_of(std::string_view bytes, const std::string& name) {
  std::string text;
  Lines lines(bytes, name);
  for (std::string_view line; lines.next(line);) {
    if (text.size() + line.size() > kMostText)
      fail(Exit::data, "{}: line {}: more than 64 MiB of text, expected less", name, lines.number());
    text.append(line).push_back('\n');
  }
  return text;
}

class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  // `where` is for errors: "features[3].geometry".
  void take(const Json& j, const std::string& where) {
    if (j.is_array()) return take_all(j, where);
    const std::string type = j.is_object() && j.contains("type") && j["type"].is_string() ? j["type"].get<std::string>() : "";
    if (type == "FeatureCollection") take_all(member(j, "features", where), where + "features");
    else if (type == "GeometryCollection") take_all(member(j, "geometries", where), where + "geometries");
    else if (type == "Feature") {
      if (const Json& g = member(j, "geometry", where); !g.is_null()) take(g, where + "geometry: ");
    } else if (type == "Polygon") take_polygon(member(j, "coordinates", where), where + "coordinates");
    else if (type == "MultiPolygon") {
      const Json& all = member(j, "coordinates", where);
      need_array(all, where + "coordinates", "polygons");
      for (size_t i = 0; i < all.size(); i++) take_polygon(all[i], fmt::format("{}coordinates[{}]", where, i));
    } else if (type != "Point" && type != "MultiPoint" && type != "LineString" && type != "MultiLineString") {
      fail(Exit::data, "{}: {}type {}, expected a FeatureCollection, Feature, Polygon or MultiPolygon", name_, where,
           type.empty() ? "missing" : shown(type));
    }
  }

  std::vector<Polygon> polygons;

 private:
  [[nodiscard]] const Json& member(const Json& j, const char* key, const std::string& where) const {
    if (!j.contains(key)) fail(Exit::data, "{}: {}no '{}', expected one", name_, where, key);
    return j[key];
  }
  void need_array(const Json& j, const std::string& where, const char* of) const {
    if (!j.is_array()) fail(Exit::data, "{}: {}: {}, expected an array of {}", name_, where, j.type_name(), of);
  }
  void take_all(const Json& j, const std::string& where) {
    need_array(j, where, "features");
    for (size_t i = 0; i < j.size(); i++) take(j[i], fmt::format("{}[{}]: ", where, i));
  }
  void take_polygon(const Json& j, const std::string& where) {
    need_array(j, where, "rings");
    if (j.empty()) return;  // GeoJSON's empty polygon
    Polygon p;
    for (size_t i = 0; i < j.size(); i++) {
      Ring r = ring(j[i], fmt::format("{}[{}]", where, i));
      if (i == 0) p.outer = std::move(r);
      else p.holes.push_back(std::move(r));
    }
    polygons.push_back(std::move(p));
  }
  [[nodiscard]] Ring ring(const Json& j, const std::string& where) const {
    need_array(j, where, "points");
    Ring r;
    for (size_t i = 0; i < j.size(); i++) {
      const Json& p = j[i];
      if (!p.is_array() || p.size() < 2 || !p[0].is_number() || !p[1].is_number())
        fail(Exit::data, "{}: {}[{}]: {}, expected a point [x, y]", name_, where, i,
             p.is_array() ? "an array of another kind" : p.type_name());
      const Vertex at{p[0].get<double>(), p[1].get<double>()};
      if (!(std::abs(at.x) <= kFarthest && std::abs(at.y) <= kFarthest))
        fail(Exit::data, "{}: {}[{}]: point {}, {}, expected pixels below 10^9", name_, where, i, at.x, at.y);
      if (r.empty() || !(at == r.back())) r.push_back(at);
    }
    if (r.size() > 1 && r.front() == r.back()) r.pop_back();
    if (r.size() < 3) fail(Exit::data, "{}: {}: a ring of {} different points, expected at least 3", name_, where, r.size());
    return r;
  }

  std::string name_;
};

void put_ring(TextOut& out, const Ring& r) {
  for (size_t i = 0; i <= r.size(); i++)  // the first point again: GeoJSON wants closed rings
    out << (i ? "," : "[") << json_point(r[i % r.size()].x, r[i % r.size()].y);
  out << "]";
}

}  // namespace

std::vector<Polygon> parse_tissue(std::string_view bytes, const std::string& name) {
  Reader reader(name);
  reader.take(parse_json(text_of(bytes, name), name, {.values = 4'000'000}), "");
  if (reader.polygons.empty()) fail(Exit::data, "{}: features: no polygon, expected the outline of tissue", name);
  return std::move(reader.polygons);
}

std::vector<Polygon> read_tissue(const std::string& path) { return parse_tissue(FileView(path).text(), path); }

void write_tissue(const std::string& path, const std::vector<Polygon>& polygons) {
  TextOut out(path, path.ends_with(".gz"));
  out << R"({"type":"FeatureCollection","features":[)";
  for (size_t i = 0; i < polygons.size(); i++) {
    out << (i > 0 ? ",\n" : "\n") << R"({"type":"Feature","geometry":{"type":"Polygon","coordinates":[)";
    put_ring(out, polygons[i].outer);
    for (const Ring& hole : polygons[i].holes) {
      out << ",";
      put_ring(out, hole);
    }
    out << R"(]},"properties":{"objectType":"annotation","classification":{"name":"Tissue","color":[0,160,0]}}})";
  }
  out << "\n]}\n";
  out.commit();
}

}  // namespace stflow
