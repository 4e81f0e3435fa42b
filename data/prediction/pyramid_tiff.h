// A pyramidal OME-TIFF, written row by row.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace stflow {

struct PyramidOptions {
  int tile = 256;           // pixels of a tile's side, a multiple of 16
  int quality = 85;         // of JPEG, 1 to 100; 0: deflate, which loses nothing
  double mpp = 0;           // microns per pixel, for PhysicalSizeX and the resolution tags; 0: unknown
  std::string name;         // of the image, UTF-8
  std::string description;  // of the image, UTF-8
};

/// 8-bit RGB in tiles; each level is half the one before, until one fits a tile, and stands in the SubIFDs of the whole image, as OME-TIFF
/// has it. BigTIFF where the image could pass 4 GiB. Holds two rows of tiles of the whole image in memory. Tiles are packed on all
/// threads; the same pixels are the same bytes. The file is there, whole, after commit(), and not before.
/// Throws Exit::create or Exit::io.
class PyramidTiff {
 public:
  PyramidTiff(const std::string& path, int64_t width, int64_t height, PyramidOptions options = {});
  PyramidTiff(const PyramidTiff&) = delete;
  PyramidTiff& operator=(const PyramidTiff&) = delete;
  ~PyramidTiff();

  /// The next row from above: 3 * width bytes.
  void row(const uint8_t* rgb);
  /// After the last row.
  void commit();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace stflow
