// Legacy Spatial Transcriptomics tables: a counts table (rows = spots "XxY", columns = genes) and a spot table with the pixel
// position of each spot, joined by spot id.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/options.h"
#include "data/section.h"

namespace stflow {

/// (N, G) counts with their names.
struct Counts {
  std::vector<std::string> spots, genes;
  SparseRows values;
};

/// Reads a counts table (tsv or csv, plain or gzip). Throws Exit::data for a duplicate spot or gene, and for a cell that is no count
/// (a whole number from 0; "nan" and "inf" pass only where `options` drops them, as NaN).
Counts read_counts(std::string_view bytes, const std::string& name, const DataOptions& options, char separator = '\t');

/// A spot table: columns x, y (whole numbers), pixel_x, pixel_y and optionally new_x, new_y, selected.
struct SpotTable {
  std::vector<std::string> ids;  // "XxY", unique
  std::vector<double> grid;      // (n, 2) measured grid position: new_x, new_y, or x, y
  std::vector<double> pixel;     // (n, 2) column, row in the full-resolution image
  std::vector<bool> selected;    // under tissue; all true without the column
  bool staggered = false;        // x + y is even everywhere: every second place of the grid is empty
};
SpotTable read_spots(std::string_view bytes, const std::string& name, const DataOptions& options);

/// Pixels per grid unit by least squares: the slopes of pixel_x on new_x and of pixel_y on new_y, averaged. 0 if the spots do
/// not span the grid in both directions.
double pixels_per_unit(const SpotTable& spots);

/// Fills spots, xy, genes, counts and mpp of `section` from the files of its source, keeps the selected spots that both tables
/// have, in the order of the counts table, and adds what a user should know to `warnings`. Throws Exit::data if fewer than half
/// of the smaller table's spots are in the other, or if microns-per-pixel sources are more than 5 % apart.
void read_legacy(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
