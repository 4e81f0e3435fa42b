// JPEG 2000 code streams, as Aperio's and other scanners' tiles hold them, through OpenJPEG.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"

namespace stflow {

/// Decodes a code stream (raw, or in a JP2 box) of exactly width x height pixels and 1, 3 or 4 components of at most 16 bits, whose second
/// and third may be halved in either direction. `ycbcr`: the components are Y, Cb, Cr (Aperio's 33003). Empty with `problem` set, in a few
/// words, where it is none.
Image decode_jpeg2000(std::span<const uint8_t> bytes, int64_t width, int64_t height, bool ycbcr, std::string& problem);

}  // namespace stflow
