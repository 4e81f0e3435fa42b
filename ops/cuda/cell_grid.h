// The grid of cells in which the device looks for neighbours: what its host half (ops/knn.cpp) and its kernels (knn.cu) share.
#pragma once
#include <cmath>

#include "engine/random.h"  // STFLOW_BOTH
#include "ops/graph.h"

namespace stflow {

struct Point {
  double x, y;
};

/// Coordinates that a neighbour search takes.
STFLOW_BOTH inline bool acceptable(Point p) { return std::fabs(p.x) <= 1e12 && std::fabs(p.y) <= 1e12; }

/// What one look at all spots tells.
struct Survey {
  double x0, y0, x1, y1;   // the box around them
  int32_t bad, misranked;  // the first spot whose coordinates are not acceptable, whose rank is out of range or another's too; n if none is
};

/// Square cells over a slide, `columns` * `rows` of them, numbered row by row.
struct CellGrid {
  double x0, y0, side;
  int32_t columns, rows;

  /// About two spots a cell on a slide without gaps; never more than 1.5 n + 1 cells. Spots in one place have one cell.
  CellGrid(const Survey& s, int64_t n) : x0(s.x0), y0(s.y0) {
    const double width = s.x1 - s.x0, height = s.y1 - s.y0, spots = double(n);
    side = std::fmax(std::sqrt(width) * std::sqrt(height) * std::sqrt(2 / spots), 2 * std::fmax(width, height) / spots);
    if (!(side > 1e-290)) side = INFINITY;  // below, a division by it could overflow
    columns = column(s.x1) + 1, rows = row(s.y1) + 1;
  }
  [[nodiscard]] int64_t cells() const { return int64_t(columns) * rows; }
  /// Of a spot inside the box. Rounding is monotone, so none lies beyond the last.
  [[nodiscard]] STFLOW_BOTH int32_t column(double x) const { return int32_t((x - x0) / side); }
  [[nodiscard]] STFLOW_BOTH int32_t row(double y) const { return int32_t((y - y0) / side); }
};

/// Looks at coords (n, 2) and rank (n) on the device; waits for the answer.
Survey survey(Cuda on, const Tensor& coords, const Tensor& rank, Storage& scratch);
/// Fills graph.idx and graph.distance, k >= 1.
void search_cells(Cuda on, const CellGrid& grid, const Tensor& coords, const Tensor& rank, Graph& graph);

}  // namespace stflow
