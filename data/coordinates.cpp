#include "data/coordinates.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "data/answer.h"
#include "data/hdf5_file.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

int first_of(const Table& table, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const int column = table.find(name); column >= 0) return column;
  return -1;
}

Coordinates read_table(std::string_view bytes, const std::string& path) {
  const bool tabs = path.ends_with(".tsv") || path.ends_with(".tsv.gz");
  Table table(bytes, path, tabs ? '\t' : ',');
  const auto [name, x, y] = place_columns(table);
  const int radius = table.find("r");
  Coordinates c;
  while (table.next()) {
    for (const int column : {x, y}) {
      c.xy.push_back(table.number(size_t(column)));
      if (!(std::fabs(c.xy.back()) < 1e9))
        table.refuse(size_t(column), shown(table.cell(size_t(column))) + ", expected a pixel of the image");
    }
    if (name >= 0) c.names.emplace_back(table.cell(size_t(name)));
    if (radius < 0) continue;
    const double side = 2 * table.number(size_t(radius));
    if (!(side >= 1 && side < 1e6) || (c.side > 0 && c.side != side))
      table.refuse(size_t(radius), shown(table.cell(size_t(radius))) + ", expected one radius in pixels for all rows");
    c.side = side;
  }
  return c;
}

std::string read_file(const std::string& path) {
  const Hdf5File file(path);
  if (!file.has("coords"))
    fail(Exit::data, "{}: found {}, expected a dataset 'coords'", path, file.names().empty() ? "nothing" : listed(file.names()));
  int64_t rows = 0, axes = 0;
  const std::vector<double> corners = file.matrix<double>("coords", rows, axes);
  if (rows > 0 && axes != 2) fail(Exit::data, "{}: dataset 'coords': {} columns, expected 2", path, axes);
  const double size = file.number("coords", "patch_size").value_or(0);
  const double level0 = file.number("coords", "patch_size_level0").value_or(size * file.number("coords", "downsample").value_or(0));
  std::string answer;
  append(answer, corners);
  append(answer, std::vector<double>{size, level0});
  return answer;
}

Coordinates read_corners(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] { return read_file(path); });
  Answer rest(answer, path);
  Coordinates c;
  c.xy = rest.take<double>();
  const auto sizes = rest.take<double>();
  check(sizes.size() == 2, "{}: {} sizes in an answer", path, sizes.size());
  if (!(sizes[1] >= 1 && sizes[1] < 1e6) || !(sizes[0] >= 1 && sizes[0] <= 4096))
    fail(Exit::data, "{}: dataset 'coords': patch_size {}, patch_size_level0 {}, expected patches of 1 to 4096 pixels as an attribute",
         path, sizes[0], sizes[1]);
  c.size = std::llround(sizes[0]), c.side = sizes[1];
  for (size_t i = 0; i < c.xy.size(); i++)
    if (!(std::fabs(c.xy[i]) < 1e9))
      fail(Exit::data, "{}: dataset 'coords': {} in row {}, expected a pixel of the image", path, c.xy[i], i / 2);
  c.names = names_from(c.xy, int64_t(c.xy.size() / 2));
  for (double& v : c.xy) v += c.side / 2;
  return c;
}

}  // namespace

PlaceColumns place_columns(const Table& table) {
  const int x = first_of(table, {"x", "xaxis", "pixel_x", "pxl_col_in_fullres"}),
            y = first_of(table, {"y", "yaxis", "pixel_y", "pxl_row_in_fullres"});
  if (x < 0 || y < 0) fail(Exit::data, "{}: line 1: no column '{}', expected x and y", table.name(), x < 0 ? "x" : "y");
  return {first_of(table, {"barcode", "barcodes", ""}), x, y};
}

Coordinates read_coordinates(const std::string& path) {
  const FileView file(path);
  Coordinates c = sniff(file.text().substr(0, 512)) == "an HDF5 file" ? read_corners(path) : read_table(file.text(), path);
  if (c.xy.empty()) fail(Exit::data, "{}: no coordinates, expected at least one place to cut a patch from", path);
  if (c.names.empty()) c.names = names_from(c.xy, int64_t(c.xy.size() / 2));
  check_names(c.names, path);
  return c;
}

std::vector<std::string> names_from(std::span<const double> xy, int64_t count) {
  std::vector<std::string> names;
  for (size_t i = 0; i < size_t(count); i++)
    names.push_back(xy.empty() ? std::to_string(i) : fmt::format("{}x{}", shortest(xy[2 * i]), shortest(xy[2 * i + 1])));
  return names;
}

void check_names(const std::vector<std::string>& names, const std::string& path) {
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < names.size(); i++)
    if (!seen.insert(names[i]).second) fail(Exit::data, "{}: {} in row {} a second time, expected each once", path, shown(names[i]), i);
}

}  // namespace stflow
