// The samples of a decoded tile or strip as 8-bit RGB.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/slide/tiff_directory.h"

namespace stflow {

/// Throws Exit::data "<file>: directory n, tag ...: <value>, expected ..." for colours that do not become RGB.
void check_tiff_colours(const std::string& file, const TiffPage& page);

/// Bytes of one plane of a block of that size as the codec gives it, before to_rgb().
int64_t tiff_plane_bytes(const TiffPage& page, int64_t width, int64_t height);

/// The upper left width x height pixels of a block whose rows are `stride` pixels apart. planes: one, or one a sample (PlanarConfiguration
/// 2). `map`: a palette's 3 * 256 entries of 16 bits. Transparency is laid on white, 16 bits become 8 as libpng rounds them.
Image tiff_to_rgb(const TiffPage& page, const std::vector<std::vector<uint8_t>>& planes, int64_t stride, int64_t width, int64_t height,
                  const std::vector<uint16_t>& map);

}  // namespace stflow
