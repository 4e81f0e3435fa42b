// Square patches of tissue around spots, resampled to the size that an encoder wants.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/section.h"

namespace stflow {

/// What an encoder looks at: a square of `microns`, given to it as `size` x `size` pixels.
struct PatchSpec {
  double microns = 112;  // 224 pixels of 0.5 um
  int size = 224;
};

/// Side of the patch in whole pixels of the section's image: microns / mpp, rounded, at least 1.
/// Throws Exit::data if the section's microns per pixel are not known.
int64_t patch_side(const Section& section, const PatchSpec& spec);

/// The upper left pixel (column, row) of the square of `side` pixels around a point.
std::pair<int64_t, int64_t> patch_corner(double x, double y, int64_t side);

/// Cuts the square of `side` pixels around each of the points xy (N, 2; column, row), resamples it to size x size (triangle filter
/// as wide as the reduction asks for, so nothing aliases; the square alone is read) and calls sink(i, rgb) once per point with
/// size * size * 3 bytes, in order of the upper edges. Pixels outside the image are white. The image is decoded once, to its end.
/// Same bytes whatever the number or order of the points. Throws what ImageReader throws.
void cut_patches(const std::string& image, std::span<const double> xy, int64_t side, int size,
                 const std::function<void(int64_t, const uint8_t*)>& sink);

/// All patches of a section at once: (N, size, size, 3) bytes.
std::vector<uint8_t> cut_patches(const Section& section, const PatchSpec& spec);

/// Throws Exit::data if more than 1 % of the spots lie outside the image, with a hint when swapped axes fit better; warns about
/// the others, and about spots that share a place.
void check_coordinates(const Section& section, std::vector<std::string>& warnings);

}  // namespace stflow
