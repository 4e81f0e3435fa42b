// Predictions out: one file per section, its format chosen by the name.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/section.h"

namespace stflow {

/// Expression of a section's N spots and G genes, and what a reader of it wants to know. Whatever is empty is left out.
struct PredictionFile {
  const Section* section = nullptr;                        // spots (barcodes), xy, image size, mpp, sample
  std::vector<std::string> genes, gene_ids;                // G names; G ids (Ensembl) or none
  std::vector<float> mean;                                 // (N, G) log(1 + counts)
  std::map<std::string, std::vector<float>> layers;        // "std", "q05", "q50", "q95", "sample_0" ...: each (N, G) log(1 + counts)
  std::map<std::string, std::vector<float>> gene_columns;  // "train_pcc", "mean", "std" ...: each G
  /// "feature_distance" ...: each N. "in_tissue", "array_row" and "array_col" are whole numbers and stand under these names; without
  /// them all spots are in the tissue, and a spot named 12x7 is at column 12, row 7.
  std::map<std::string, std::vector<float>> spot_columns;
  std::optional<Image> hires;                // the section's image, reduced
  double hires_scale = 0;                    // pixel of `hires` = full-resolution pixel * scale
  double spot_diameter = 0;                  // full-resolution pixels; 0: unknown
  bool square_spots = false;                 // bins of a grid, with sides of spot_diameter
  std::map<std::string, std::string> about;  // version, seed, encoder, sha256, preset, mpp, sampler ...
};

/// The ends of names that write_prediction() knows.
std::span<const std::string_view> prediction_formats();
/// Throws Exit::usage, listing the formats, unless `path` ends with one of them: to be called before any work.
void check_prediction_name(const std::string& path);

/// Writes the file, whole or not at all, in the format of the name's end. The same content is the same bytes.
///   .h5ad                  AnnData: everything
///   .csv                   spot, x, y, one column per gene: the mean
///   .geojson, .geojson.gz  QuPath: one detection per spot with the mean as measurements
/// Throws Exit::usage as check_prediction_name() does, Exit::create or Exit::io.
void write_prediction(const std::string& path, const PredictionFile& prediction);

}  // namespace stflow
