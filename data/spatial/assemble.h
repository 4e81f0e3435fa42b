// What readers of spatial formats share: counts and places become a section, and what would spoil it is refused.
#pragma once
#include <string>
#include <vector>

#include "data/options.h"
#include "data/scale.h"
#include "data/section.h"
#include "data/spatial/matrix.h"

namespace stflow {

/// Counts as a file has them.
struct FoundCounts {
  std::string path, name;                       // for messages: the file, and the matrix in it
  std::vector<std::string> spots;               // barcodes, N
  std::vector<std::string> symbols, ids, kind;  // G each; empty: the file has none. kind: 10x's feature_type
  Matrix matrix;                                // (N, G)
  std::string instead;                          // what else could be read, for the hint: "--layer counts"
};

/// Sets spots, genes, gene_ids and counts. Genes are joined by id where there are ids: a symbol that several ids have gives way to the ids,
/// unless --duplicate-genes says what becomes of it; without ids it is refused. Features of another kind than "Gene Expression" are left
/// out. Throws Exit::data for barcodes or ids that come twice, NaN and Inf (unless dropped), and values that are no counts while counts are
/// wanted; --x-is log1p turns them back.
void set_counts(Section& section, FoundCounts found, const DataOptions& options, std::vector<std::string>& warnings);

/// Places of spots as a file has them.
struct FoundPlaces {
  std::string path;
  std::vector<std::string> spots;  // barcodes, unique
  std::vector<double> xy;          // (n, 2) pixels: column, row
  std::vector<double> grid;        // (n, 2) array column and row; empty: the file has none
  std::vector<bool> in_tissue;     // n, or empty: all are
};

/// Joins places to the section's spots by barcode (those of the counts keep their order) and leaves out spots off the tissue. Throws
/// Exit::data if fewer than half of the smaller side's spots are in the other, or a place is not finite (unless dropped).
void set_places(Section& section, const FoundPlaces& places, const DataOptions& options, std::vector<std::string>& warnings);

/// "ACGT-1" without "-1", under --barcode-strip; throws Exit::data if two barcodes become one.
void strip_barcodes(std::vector<std::string>& barcodes, const DataOptions& options, const std::string& path);

/// What an array's pitch says of the scale: Visium (places where column + row is even, 100 um apart) or a square grid of `bin` microns (0:
/// none). Empty if the spots do not tell.
std::vector<Scale> pitch_scale(const FoundPlaces& places, double bin);

/// Column, row and side in microns of a Visium HD bin from its barcode: "s_016um_00052_00082-1" is row 52, column 82.
struct Bin {
  int64_t row = 0, column = 0;
  double microns = 0;
};
bool read_bin(const std::string& barcode, Bin& bin);

/// Whether these are ids of a data base ("ENSG00000141510", "ENSMUSG00000064339.1") and no symbols: nearly all begin with ENS.
bool are_ids(const std::vector<std::string>& names);

/// The section's image is one with `scale` pixels for a pixel of its coordinates: these and the scale follow, and a warning says so.
void use_reduced_image(Section& section, double scale, const std::string& what, std::vector<std::string>& warnings);

}  // namespace stflow
