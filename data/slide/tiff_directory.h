// The directories of a TIFF or BigTIFF file of either byte order, checked before libtiff sees the file: what libtiff would take on trust
// (chains without end, arrays without end, tiles past the end) is refused here by name.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/file.h"

namespace stflow {

/// One directory, with what the slide reader needs of it.
struct TiffPage {
  uint64_t offset = 0;  // of the directory in the file
  int number = 0;       // in the order of the file, for messages
  int64_t width = 0, height = 0;
  bool tiled = false;
  int64_t block_width = 0, block_height = 0;  // of a tile, or the width and rows of a strip
  int bits = 1, samples = 1, format = 1;      // BitsPerSample (the same for all), SamplesPerPixel, SampleFormat
  int compression = 1, photometric = 0, planar = 1;
  int subsampling[2] = {2, 2};    // YCbCr
  std::vector<int> extra;         // ExtraSamples
  uint64_t subfile = 0;           // NewSubfileType
  double resolution[2] = {0, 0};  // pixels per unit
  int unit = 2;                   // ResolutionUnit: 1 none, 2 inch, 3 cm
  bool has_unit = false;
  std::string description, software, xml;                   // ImageDescription, Software, XMLPacket (their first 64 KiB)
  bool ndpi = false, colour_map = false, reversed = false;  // reversed: FillOrder 2
  std::vector<uint64_t> children;                           // SubIFDs
  std::vector<uint64_t> offsets, counts;                    // of each block, plane after plane

  [[nodiscard]] int64_t across() const { return (width + block_width - 1) / block_width; }
  [[nodiscard]] int64_t down() const { return (height + block_height - 1) / block_height; }
};

/// All directories of the chain, then the SubIFDs of the first of them. Throws Exit::data "<file>: directory 3: ..." for a loop, more than
/// 1,024 directories, values outside the file, an array that is too short for the page's tiles, and tiles that end past the file.
std::vector<TiffPage> read_tiff_directories(const FileView& file);

/// "tag 259 (Compression)".
std::string tiff_tag_name(int tag);

}  // namespace stflow
