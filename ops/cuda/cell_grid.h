// What the host half of the search for neighbours on a device (ops/knn.cpp) and its kernels (knn.cu) share: the grid of cells, above all.
#pragma once
#include <cmath>

#include "engine/random.h"  // STFLOW_BOTH
#include "ops/knn.h"

namespace stflow {

struct Point {
  double x, y;
};

/// Coordinates that a neighbour search takes.
STFLOW_BOTH inline bool acceptable(Point p) { return std::fabs(p.x) <= 1e12 && std::fabs(p.y) <= 1e12; }

/// Square cells over a slide, `columns` * `rows` of them, numbered row by row.
struct CellGrid {
  double x0, y0, side;
  int32_t columns, rows;

  /// Of n >= 1 acceptable spots in the host's memory. About two a cell on a slide without gaps; never more than most_cells(). Spots in one
  /// place have one cell.
  CellGrid(const Point* at, int64_t n) : x0(at->x), y0(at->y) {
    double x1 = x0, y1 = y0;
    for (int64_t i = 1; i < n; i++)
      x0 = std::fmin(x0, at[i].x), y0 = std::fmin(y0, at[i].y), x1 = std::fmax(x1, at[i].x), y1 = std::fmax(y1, at[i].y);
    const double width = x1 - x0, height = y1 - y0, spots = double(n);
    side = std::fmax(std::sqrt(width) * std::sqrt(height) * std::sqrt(2 / spots), 2 * std::fmax(width, height) / spots);
    if (!(side > 1e-290)) side = INFINITY;  // below, a division by it could overflow
    columns = column(x1) + 1, rows = row(y1) + 1;
  }
  static int64_t most_cells(int64_t n) { return 3 * n / 2 + 1; }
  [[nodiscard]] int64_t cells() const { return int64_t(columns) * rows; }
  /// Of a spot inside the box. Rounding is monotone, so none lies beyond the last.
  [[nodiscard]] STFLOW_BOTH int32_t column(double x) const { return int32_t((x - x0) / side); }
  [[nodiscard]] STFLOW_BOTH int32_t row(double y) const { return int32_t((y - y0) / side); }
};

/// The first of k rising distances that is not 0; 0 if there is none.
STFLOW_BOTH inline double nearest_elsewhere(const double* distance, int64_t k) {
  for (int64_t i = 0; i < k; i++)
    if (distance[i] > 0) return distance[i];
  return 0;
}
/// That of each spot of a graph in the device's memory, into `nearest` (n) there.
void find_nearest(Cuda on, const Graph& graph, double* nearest);
/// Fills graph.idx and graph.distance, k >= 1, from spots in the device's memory.
void search_cells(Cuda on, const CellGrid& grid, const Spots& there, Graph& graph);

}  // namespace stflow
