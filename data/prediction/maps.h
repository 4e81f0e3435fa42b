// Pictures of a prediction: expression over the tissue, alone or beside what was measured.
#pragma once
#include <string>
#include <vector>

#include "data/image.h"

namespace stflow {

/// What the maps of one section share. `tissue` is the part of the section's image that has spots, reduced `reduce` times in each
/// direction; its upper left corner is at (left, top) of the reduced image.
struct MapBackground {
  Image tissue;
  double reduce = 1;
  int64_t left = 0, top = 0;
  double mpp = 0;           // microns per pixel of the full image; 0: no scale bar
  std::vector<double> xy;   // (n, 2) spots in full-image pixels
  double spot_radius = 50;  // full-image pixels
};

/// Cuts out the spots' surroundings and reduces them to about `pixels` on the longer side.
MapBackground map_background(const std::string& image, double mpp, const std::vector<double>& xy, double spot_radius, int pixels = 560);
/// The same from an image that is already reduced: its pixel = full-image pixel * scale.
MapBackground map_background(const Image& reduced, double scale, double mpp, const std::vector<double>& xy, double spot_radius);

/// Writes a PNG: two panels with one colour scale (the 2nd to 98th percentile of `measured`), colour bar and scale bar.
/// measured and predicted (n) in log(1 + counts). Atomic.
void write_gene_map(const std::string& path, const MapBackground& background, const std::string& section, const std::string& gene,
                    const std::vector<float>& measured, const std::vector<float>& predicted, double pearson);

/// Writes a PNG: one panel of values (n) in log(1 + counts), its colours from their 2nd to 98th percentile, colour bar and scale bar. A
/// value that is not finite has no colour. Atomic.
void write_heat_map(const std::string& path, const MapBackground& background, const std::string& title, const std::vector<float>& values);

}  // namespace stflow
