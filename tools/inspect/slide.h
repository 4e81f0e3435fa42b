// What a slide is.
#pragma once
#include <string>

#include "tools/slide_flags.h"

namespace stflow {

/// Whether the file is a slide or an image, by its content.
bool is_slide(const std::string& path);

/// Prints format, levels, microns per pixel with every source, and warnings. Throws as SlideImage does: the line says why it cannot be
/// read.
void inspect_slide(const std::string& path, const SlideOptions& options);

}  // namespace stflow
