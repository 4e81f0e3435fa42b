// Where spots are: CSV tables of 10x Genomics (with and without a header), STImage-1K4M and others.
#pragma once
#include <string>
#include <string_view>

#include "data/spatial/assemble.h"

namespace stflow {

/// A table with a barcode (or an unnamed first column), x and y (the names of data/coordinates.h), and maybe in_tissue, array_row and
/// array_col; or, without a header, the six columns of tissue_positions_list.csv: barcode, in_tissue, array_row, array_col, row, column.
/// CSV, or TSV by the file's name. Throws Exit::data with line and column.
FoundPlaces read_positions(std::string_view bytes, const std::string& name);

/// Places of Visium HD bins on the microscope's image from their barcodes and the homography in feature_slice.h5 (metadata_json). Throws
/// Exit::missing or Exit::data, also for a barcode that is none of a bin.
FoundPlaces read_feature_slice(const std::string& path, const std::vector<std::string>& barcodes);

}  // namespace stflow
