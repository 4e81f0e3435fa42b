// TIFF files for the tests, written by libtiff on the spot.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace stflow::test {

struct TiffKind {
  std::string mode = "w";  // w8: BigTIFF, wb: big-endian...
  int64_t tile = 16;       // 0: strips
  int64_t rows = 7;        // of a strip
  int compression = 1;     // as tag 259; 33003 and 33005 are JPEG 2000
  int photometric = 2;     // 0, 1, 2, 3, 5, 6
  int bits = 8;
  int extra = -1;  // ExtraSamples of a further sample with this meaning; -1: none
  bool planar = false;
  int subsampling = 1;  // YCbCr without JPEG
  std::string description = {}, software = {};
  double per_cm = 0;  // resolution; 0: none
  uint32_t subfile = 0;
  bool children = false;   // the next pages hang below this one as SubIFDs
  int64_t leave_out = -1;  // this tile is not written
};

struct TiffPageOut {
  Image image;
  TiffKind kind;
};

/// Writes the pages and returns the path.
std::string write_tiff(const std::string& path, const std::vector<TiffPageOut>& pages);

/// A picture that compresses well and survives JPEG: slow waves.
Image waves(int64_t width, int64_t height);
/// Half the pixels of it along each axis, averaged.
Image halved(const Image& image);
int largest_difference(const Image& a, const Image& b);

/// The first `was` of the directory entry of `tag` (SHORT or LONG, classic little-endian) becomes `now`.
std::string with_tag(std::string bytes, int tag, uint32_t now, int directory = 0);

}  // namespace stflow::test
