#include "data/tissue/grid.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr double kMostPositions = 268'435'456;

bool enough(double share, double least) { return share > 0 && share >= least; }

}  // namespace

Places lay_grid(const TissueMask& mask, int64_t width, int64_t height, double mpp, const GridOptions& o) {
  check(mpp > 0 && o.pitch > 0 && o.patch > 0, "grid: pitch {}, patch {} microns, {} microns per pixel, expected more than 0", o.pitch,
        o.patch, mpp);
  Places p;
  p.side = o.patch / mpp, p.pitch = o.pitch / mpp;
  const double row_step = o.hexagonal ? p.pitch * std::sqrt(3.0) / 2 : p.pitch, column_step = o.hexagonal ? p.pitch / 2 : p.pitch;
  const double first = (o.hexagonal ? p.pitch : p.side) / 2;
  const double rows = std::ceil((double(height) - first) / row_step), columns = std::ceil((double(width) - first) / column_step);
  if (rows <= 0 || columns <= 0) return p;
  if (rows * columns > kMostPositions)
    fail(Exit::usage, "pitch: found {} microns, {:.0f} rows of {:.0f} columns, expected a wider one", o.pitch, rows, columns);
  const TissueShare share(mask);
  for (int32_t row = 0; row < int32_t(rows); row++)
    for (int32_t column = o.hexagonal ? row % 2 : 0; column < int32_t(columns); column += o.hexagonal ? 2 : 1) {
      const double x = first + column * column_step, y = first + row * row_step;
      if (!enough(share.around(x, y, p.side), o.least_share)) continue;
      p.names.push_back(fmt::format("r{:05}_c{:05}", row, column));
      p.xy.insert(p.xy.end(), {x, y});
      p.array_row.push_back(row), p.array_col.push_back(column);
    }
  return p;
}

Places keep_in_tissue(const TissueMask& mask, const std::vector<std::string>& names, const std::vector<double>& xy, double side,
                      double least_share) {
  check(xy.size() == 2 * names.size(), "places: {} names for {} numbers", names.size(), xy.size());
  Places p;
  p.side = side;
  const TissueShare share(mask);
  for (size_t i = 0; i < names.size(); i++) {
    if (!enough(share.around(xy[2 * i], xy[2 * i + 1], side), least_share)) continue;
    p.names.push_back(names[i]);
    p.xy.insert(p.xy.end(), {xy[2 * i], xy[2 * i + 1]});
  }
  return p;
}

}  // namespace stflow
