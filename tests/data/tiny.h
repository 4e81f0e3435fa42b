// Small files for the tests of readers, made on the spot.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/image.h"
#include "tests/files.h"

namespace stflow::test {

/// One gzip member.
std::string gzip(std::string_view bytes);

/// An image whose pixels depend on their place.
Image picture(int64_t width, int64_t height);

struct JpegOptions {
  bool progressive = false, cmyk = false;
  int orientation = 1;  // EXIF
};
/// A JPEG file's bytes.
std::string jpeg(const Image& image, const JpegOptions& options = {});

/// A section of 3 spots on a 40 x 30 image in `folder`: <sample>.png, <sample>.tsv, alignment_table_<sample>.tsv.
void tiny_section(const TempFolder& folder, const std::string& sample, const std::string& counts_of_first = "1\t2\t0");

}  // namespace stflow::test
