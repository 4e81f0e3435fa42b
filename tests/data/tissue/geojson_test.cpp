#include "data/tissue/geojson.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "tests/data/tiny.h"

using namespace stflow;
using namespace stflow::test;

namespace {

const std::string kSquare = "[[0,0],[4,0],[4,4],[0,4],[0,0]]", kPolygon = R"({"type":"Polygon","coordinates":[)" + kSquare + "]}";

void refuse(const std::string& text, const std::string& line) {
  refuses(Exit::data, "t.geojson: " + line, "", [&] { parse_tissue(text, "t.geojson"); });
}

std::string polygon(const std::string& ring) { return R"({"type":"Polygon","coordinates":[)" + ring + "]}"; }

}  // namespace

TEST_CASE("geojson: every container of polygons") {
  const std::string feature = R"({"type":"Feature","properties":{"name":"x"},"geometry":)" + kPolygon + "}";
  const std::string point = R"({"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]}})";
  const std::string none = R"({"type":"Feature","geometry":null})";
  const Ring square{{0, 0}, {4, 0}, {4, 4}, {0, 4}};
  for (const std::string& text :
       {kPolygon, feature, R"({"type":"FeatureCollection","features":[)" + point + "," + feature + "," + none + "]}", "[" + feature + "]",
        R"({"type":"GeometryCollection","geometries":[)" + kPolygon + "]}", polygon("[[0,0],[4,0],[4,0],[4,4],[0,4]]"),
        polygon("[[0,0,7],[4.0,0],[4,4,1],[0,4e0]]"), "\xef\xbb\xbf\r\n " + kPolygon + "\r\n", gzip(kPolygon)}) {
    CAPTURE(text);
    const std::vector<Polygon> p = parse_tissue(text, "t.geojson");
    REQUIRE(p.size() == 1);
    CHECK(p[0].outer == square);
    CHECK(p[0].holes.empty());
  }
  const std::vector<Polygon> several = parse_tissue(
      R"({"type":"MultiPolygon","coordinates":[[)" + kSquare + ",[[1,1],[2,1],[2,2]]],[[[8,8],[9,8],[9,9]]],[]]}", "t.geojson");
  REQUIRE(several.size() == 2);
  CHECK(several[0].holes == std::vector<Ring>{{{1, 1}, {2, 1}, {2, 2}}});
  CHECK(several[1].outer == Ring{{8, 8}, {9, 8}, {9, 9}});
}

TEST_CASE("geojson: what is written is read again, and is what QuPath reads") {
  const TempFolder folder;
  const std::vector<Polygon> polygons{{{{0.5, 0}, {1e5, 0}, {1e5, 7.25}}, {{{1, 1}, {2, 1}, {2, 2}}}}, {{{3, 3}, {4, 3}, {4, 4}}, {}}};
  for (const char* name : {"t.geojson", "t.geojson.gz"}) {
    write_tissue(folder.path(name), polygons);
    const std::vector<Polygon> again = read_tissue(folder.path(name));
    REQUIRE(again.size() == 2);
    for (size_t i = 0; i < 2; i++) {
      CHECK(again[i].outer == polygons[i].outer);
      CHECK(again[i].holes == polygons[i].holes);
    }
  }
  const auto json = nlohmann::json::parse(read_text(folder.path("t.geojson")));
  CHECK(json["type"] == "FeatureCollection");
  CHECK(json["features"][0]["properties"]["classification"]["name"] == "Tissue");
  CHECK(json["features"][0]["properties"]["objectType"] == "annotation");
  const auto& ring = json["features"][0]["geometry"]["coordinates"][0];
  CHECK(ring.size() == 4);
  CHECK(ring.front() == ring.back());
  CHECK(sniff(FileView(folder.path("t.geojson.gz")).text()) == "gzip data");
}

TEST_CASE("bad input: GeoJSON") {
  refuse("", "is empty, expected a text table");
  refuse("{}", "type missing, expected a FeatureCollection, Feature, Polygon or MultiPolygon");
  refuse(R"({"type":"Topology"})", "type 'Topology', expected a FeatureCollection, Feature, Polygon or MultiPolygon");
  refuse(R"({"type":7})", "type missing, expected a FeatureCollection, Feature, Polygon or MultiPolygon");
  refuse("3", "type missing, expected a FeatureCollection, Feature, Polygon or MultiPolygon");
  refuse(R"({"type":"FeatureCollection"})", "no 'features', expected one");
  refuse(R"({"type":"FeatureCollection","features":{}})", "features: object, expected an array of features");
  refuse(R"({"type":"FeatureCollection","features":[]})", "features: no polygon, expected the outline of tissue");
  refuse(R"({"type":"FeatureCollection","features":[{"type":"Feature"}]})", "features[0]: no 'geometry', expected one");
  refuse(R"([{"type":"Feature","geometry":{"type":"Polygon"}}])", "[0]: geometry: no 'coordinates', expected one");
  refuse(R"({"type":"Polygon","coordinates":"no"})", "coordinates: string, expected an array of rings");
  refuse(R"({"type":"MultiPolygon","coordinates":[[3]]})", "coordinates[0][0]: number, expected an array of points");
  refuse(R"({"type":"MultiPolygon","coordinates":7})", "coordinates: number, expected an array of polygons");
  refuse(R"({"type":"Polygon","coordinates":[]})", "features: no polygon, expected the outline of tissue");
  refuse(polygon("[]"), "coordinates[0]: a ring of 0 different points, expected at least 3");
  refuse(polygon("[[0,0],[1,1],[0,0]]"), "coordinates[0]: a ring of 2 different points, expected at least 3");
  refuse(polygon("[[0,0],[1,1],[0]]"), "coordinates[0][2]: an array of another kind, expected a point [x, y]");
  refuse(polygon("[[0,0],[1,1],7]"), "coordinates[0][2]: number, expected a point [x, y]");
  refuse(polygon("[[0,0],[1,\"1\"],[2,0]]"), "coordinates[0][1]: an array of another kind, expected a point [x, y]");
  refuse(polygon("[[0,0],[1,2e9],[2,0]]"), "coordinates[0][1]: point 1, 2000000000, expected pixels below 10^9");
  CHECK_THROWS_AS(parse_tissue(polygon("[[0,0],[1,NaN],[2,0]]"), "t"), Error);
  CHECK_THROWS_AS(parse_tissue(polygon("[[0,0],[1,1e999],[2,0]]"), "t"), Error);
  refuse(std::string(100'000, '['), "1:65: more than 64 levels, expected fewer");
  std::string many = "[";
  for (int i = 0; i < 4'000'001; i++) many += "1,";
  refuse(many + "1]", "1:8000002: more than 4000000 values, expected fewer");
  const std::string line(1 << 20, ' ');
  std::string bomb;
  for (int i = 0; i < 66; i++) bomb += line + "\n";
  refuse(gzip(bomb), "line 64: more than 64 MiB of text, expected less");
  refuse(gzip(kPolygon).substr(0, 30), "line 1: the gzip data end early, expected a whole file: truncated?");
  refuses(Exit::missing, "/nowhere.geojson: No such file or directory, expected a readable file", "",
          [] { read_tissue("/nowhere.geojson"); });
}
