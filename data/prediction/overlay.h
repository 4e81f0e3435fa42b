// A gene's map over the whole slide, for viewers of slides.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/prediction/pyramid_tiff.h"

namespace stflow {

/// A slide, row by row from above: of an ImageReader, or of whatever reads slides.
struct RowSource {
  int64_t width = 0, height = 0;
  std::function<void(uint8_t* rgb)> next_row;  // fills 3 * width bytes
};

/// What is laid over it. xy and radius are in its pixels.
struct SpotColours {
  std::vector<double> xy;     // (n, 2)
  std::vector<float> values;  // n; where it is not finite there is no colour
  double radius = 50;         // half the side of square spots
  bool square = false;
  double opacity = 0.6;
};

/// Writes a pyramidal OME-TIFF of the slide with its spots coloured in viridis from the 2nd to the 98th percentile of the values, which
/// its description tells behind options.description. Memory: a few rows of tiles, and the spots. Throws Exit::create or Exit::io, and what
/// next_row throws; then there is no file.
void write_overlay(const std::string& path, const RowSource& slide, const SpotColours& spots, PyramidOptions options);

}  // namespace stflow
