// Where a slide has tissue: a mask over a small image of it.
#pragma once
#include <cstdint>
#include <vector>

#include "data/image.h"

namespace stflow {

struct TissueOptions {
  double resolution = 8;        // microns a mask pixel is wide, or the thumbnail's pixel where that is coarser
  double min_area = 50'000;     // square microns: a smaller piece is dirt
  double max_hole = 50'000;     // square microns: a smaller hole belongs to the tissue
  bool remove_holes = true;     // false: larger holes belong to the tissue as well
  bool remove_penmarks = true;  // green, cyan, blue and glaring red are not of H&E
};

/// (height, width) of 0 and 1. Pixel (x, y) covers [x, x + 1) * scale by [y, y + 1) * scale of the full-resolution image.
struct TissueMask {
  int64_t width = 0, height = 0;
  double scale = 1;  // full-resolution pixels a mask pixel is wide
  std::vector<uint8_t> on;

  /// Of a point of the full-resolution image; false outside.
  [[nodiscard]] bool at(double x, double y) const;
  /// Of the whole image that is tissue, 0 to 1.
  [[nodiscard]] double share() const;
  [[nodiscard]] bool empty() const;
};

/// `mpp`: microns per pixel of the thumbnail, > 0; `downsample`: full-resolution pixels per pixel of the thumbnail.
/// A pixel is tissue where its colour absorbs unevenly: the largest minus the least optical density of its channels, after the background's
/// own colour was divided out, is above Otsu's threshold (held between 0.05 and 0.08, so that an empty slide has no tissue and a
/// full one is not halved). Optical density rather than HSV saturation, because the latter is noise in dark pixels: black borders, printed
/// dots and frames, dust and shadows are grey and absorb evenly. Then majority, closing, opening, the limits on pieces and holes.
/// Takes time and memory in proportion to the thumbnail's pixels; the same bytes for the same image.
TissueMask find_tissue(const Image& thumbnail, double mpp, const TissueOptions& options = {}, double downsample = 1);

/// The share of any rectangle that is tissue, in constant time.
class TissueShare {
 public:
  explicit TissueShare(const TissueMask& mask);
  /// Of the square of side `side` > 0 around (x, y), full-resolution pixels: exact, with mask pixels cut at its border; what lies outside
  /// the mask counts as empty.
  [[nodiscard]] double around(double x, double y, double side) const;

 private:
  [[nodiscard]] double sum(double x, double y) const;
  int64_t width_, height_;
  double scale_;
  std::vector<uint32_t> sums_;  // (height + 1, width + 1): tissue pixels above and to the left
};

}  // namespace stflow
