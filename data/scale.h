// How many microns a pixel of a section's image has, from whatever says it.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/options.h"
#include "data/section.h"

namespace stflow {

/// Microns per pixel, and what says so.
struct Scale {
  double mpp;
  std::string from;
};

constexpr double kMostMpp = 10, kMostReduced = 100;  // of an image that shows cells; of one that is known to be small

/// Sets the section's mpp from --mpp, else the manifest, else the first of `found` (pixels of the files' coordinates; the section's mpp is
/// that of its image, which may be reduced). `where` is named in errors. Throws Exit::data for one beyond 0.05 to `most`, and listing all
/// if two are more than 5 % apart.
void settle_mpp(Section& section, const DataOptions& options, std::vector<Scale> found, const std::string& where, double most = kMostMpp);

/// Pixels from column to column and from row to row of an array whose spots have grid places (n, 2; column, row) and pixels (n, 2), by
/// least squares over an affine map: the array may be turned. {0, 0} if the spots do not span it.
struct Pitch {
  double column = 0, row = 0;
};
Pitch array_pitch(std::span<const double> grid, std::span<const double> pixels);

}  // namespace stflow
