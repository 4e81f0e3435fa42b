// PNG out: maps of expression.
#pragma once
#include <string>

#include "data/image.h"

namespace stflow {

/// Writes 8-bit RGB, atomically. Same bytes for the same pixels. Throws Exit::create or Exit::io.
void write_png(const std::string& path, const Image& image);

}  // namespace stflow
