// Where patches are to be cut from one image: tables of coordinates (CSV, TSV) and the files of TRIDENT and CLAM (HDF5).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/table.h"

namespace stflow {

struct Coordinates {
  std::vector<std::string> names;  // barcodes; "<x>x<y>" where there are none
  std::vector<double> xy;          // (N, 2) centres, in pixels of the full-resolution image: column, row
  double side = 0;                 // of a patch, in those pixels; 0: the file does not say
  int64_t size = 0;                // pixels to which the program that wrote the file resamples it; 0: the file does not say
};

/// A table has the columns x and y (also xaxis, yaxis; pixel_x, pixel_y; pxl_col_in_fullres, pxl_row_in_fullres) of each centre, and may
/// have barcode (or an unnamed first column) and r, half a patch's side, the same in all rows (STImage-1K4M). An HDF5 file has `coords` (N,
/// 2), upper left corners, with the attributes patch_size and patch_size_level0 (TRIDENT), or patch_size and downsample (CLAM); it is read
/// in a child process. Throws Exit::missing or Exit::data.
Coordinates read_coordinates(const std::string& path);

/// The columns of a table that hold a spot's name and place; -1: it has none of that name. Throws Exit::data if
/// there is no place.
struct PlaceColumns {
  int name, x, y;
};
PlaceColumns place_columns(const Table& table);

/// "<x>x<y>" for each point (N, 2); "0", "1"... for `count` points without coordinates.
std::vector<std::string> names_from(std::span<const double> xy, int64_t count);

/// Throws Exit::data if two are the same, naming the row.
void check_names(const std::vector<std::string>& names, const std::string& path);

}  // namespace stflow
