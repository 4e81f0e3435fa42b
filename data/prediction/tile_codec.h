// One tile of RGB pixels as the bytes that a TIFF file keeps of it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace stflow {

/// `rgb`: side x side pixels. JPEG: a whole stream, YCbCr with half the colour resolution; quality 1 to 100.
std::string jpeg_tile(const std::vector<uint8_t>& rgb, int side, int quality);
/// zlib's, over differences of neighbouring pixels (TIFF's predictor 2).
std::string deflate_tile(const std::vector<uint8_t>& rgb, int side);

}  // namespace stflow
