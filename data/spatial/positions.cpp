#include "data/spatial/positions.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/coordinates.h"
#include "data/table.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

/// tissue_positions_list.csv has no header: a row's second to fourth cells are whole numbers.
bool has_header(std::string_view bytes, const std::string& name, char separator) {
  Lines lines(bytes, name);
  std::string_view line;
  if (!lines.next(line)) fail(Exit::data, "{}: empty, expected a table of positions", name);
  const size_t first = line.find(separator), second = first == std::string_view::npos ? first : line.find(separator, first + 1);
  return second == std::string_view::npos || !parse_integer(line.substr(first + 1, second - first - 1));
}

/// From spots (column, row) to pixels.
std::array<double, 9> homography(const Json& json, const std::string& path) {
  const std::string key = "spot_colrow_to_microscope_colrow";
  std::array<double, 9> h{};
  size_t n = 0;
  if (json.is_object() && json.contains("transform_matrices") && json["transform_matrices"].is_object() &&
      json["transform_matrices"].contains(key))
    for (const Json& row : json["transform_matrices"][key])
      for (const Json& v : row) {
        if (v.is_number() && n < h.size()) h[n] = v.get<double>();
        n++;
      }
  if (n != h.size()) fail(Exit::data, "{}: metadata_json: no 3 x 3 numbers at transform_matrices/{}, expected them", path, key);
  return h;
}

}  // namespace

FoundPlaces read_positions(std::string_view bytes, const std::string& name) {
  const char separator = name.ends_with(".tsv") || name.ends_with(".tsv.gz") ? '\t' : ',';
  const bool header = has_header(bytes, name, separator);
  const std::vector<std::string> tenx = {"barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"};
  Table table = header ? Table(bytes, name, separator) : Table(bytes, name, separator, tenx);
  const PlaceColumns at = place_columns(table);
  const int inside = table.find("in_tissue"), row = table.find("array_row"), column = table.find("array_col");
  if (at.name < 0) fail(Exit::data, "{}: line 1: no column 'barcode', expected one", name);
  FoundPlaces p;
  p.path = name;
  while (table.next()) {
    p.spots.emplace_back(table.cell(size_t(at.name)));
    if (p.spots.back().empty()) table.refuse(size_t(at.name), "no barcode, expected one");
    p.xy.push_back(table.number(size_t(at.x))), p.xy.push_back(table.number(size_t(at.y)));
    if (row >= 0 && column >= 0)
      p.grid.push_back(double(table.integer(size_t(column)))), p.grid.push_back(double(table.integer(size_t(row))));
    if (inside < 0) continue;
    const int64_t tissue = table.integer(size_t(inside));
    if (tissue != 0 && tissue != 1) table.refuse(size_t(inside), fmt::format("'{}', expected 0 or 1", tissue));
    p.in_tissue.push_back(tissue == 1);
  }
  if (p.spots.empty()) fail(Exit::data, "{}: line {}: no spots, expected rows", name, table.line());
  return p;
}

FoundPlaces read_feature_slice(const std::string& path, const std::vector<std::string>& barcodes) {
  const std::string text = read_hdf5(path, [&] { return Hdf5File(path).text("/", "metadata_json").value_or(""); });
  if (text.empty()) fail(Exit::data, "{}: no attribute metadata_json, expected Space Ranger's feature_slice.h5", path);
  const Json json = parse_json(text, path + ": metadata_json");
  const std::array<double, 9> h = homography(json, path);
  const double pitch = json.contains("spot_pitch") && json["spot_pitch"].is_number() ? json["spot_pitch"].get<double>() : 0;
  if (!(pitch > 0 && pitch < 1000)) fail(Exit::data, "{}: metadata_json: spot_pitch {}, expected microns", path, shortest(pitch));
  FoundPlaces p;
  p.path = path;
  p.spots = barcodes;
  for (const std::string& b : barcodes) {
    Bin bin;
    if (!read_bin(b, bin)) fail(Exit::data, "{}: barcode {}, expected one as s_016um_00052_00082-1", path, shown(b));
    // Spots count from their centres: a bin of k spots has its own at (bin + 1/2) k - 1/2.
    const double k = bin.microns / pitch, x = (double(bin.column) + 0.5) * k - 0.5, y = (double(bin.row) + 0.5) * k - 0.5;
    const double w = h[6] * x + h[7] * y + h[8];
    p.xy.push_back((h[0] * x + h[1] * y + h[2]) / w), p.xy.push_back((h[3] * x + h[4] * y + h[5]) / w);
    p.grid.push_back(double(bin.column)), p.grid.push_back(double(bin.row));
  }
  return p;
}

}  // namespace stflow
