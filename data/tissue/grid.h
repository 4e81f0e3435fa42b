// Where patches are cut from a slide that has no spots of its own.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/tissue/mask.h"

namespace stflow {

/// Positions on a slide, row by row.
struct Places {
  std::vector<std::string> names;             // unique: "r00012_c00345" of array row and column, or the spots' own
  std::vector<double> xy;                     // (N, 2) centres in full-resolution pixels: column, row
  std::vector<int32_t> array_row, array_col;  // (N); empty where the positions are on no grid
  double side = 0;                            // of a patch in full-resolution pixels
  double pitch = 0;                           // between neighbours' centres in full-resolution pixels; 0: on no grid

  [[nodiscard]] int64_t size() const { return int64_t(names.size()); }
};

struct GridOptions {
  bool hexagonal = true;      // as a Visium array: rows half a column apart; false: square, tiles from the upper left corner on
  double pitch = 100;         // microns between neighbouring centres
  double patch = 112;         // microns: the side of a patch
  double least_share = 0.25;  // of a patch that must be tissue
};

/// The positions of a grid over a slide of width x height pixels whose patches have at least `least_share` of tissue; those without any
/// are left out whatever it is. A place depends on the pitch alone: another mask or share moves none and renames none. Array columns of
/// the hexagonal grid are those of Visium, even in even rows and odd in odd ones. Memory for the positions that are kept. Throws
/// Exit::usage for more than 2^28 positions before any is left out.
Places lay_grid(const TissueMask& mask, int64_t width, int64_t height, double mpp, const GridOptions& options);

/// Given positions (N, 2) that have names: those whose patches of `side` pixels have at least `least_share` of tissue, in their order.
Places keep_in_tissue(const TissueMask& mask, const std::vector<std::string>& names, const std::vector<double>& xy, double side,
                      double least_share);

}  // namespace stflow
