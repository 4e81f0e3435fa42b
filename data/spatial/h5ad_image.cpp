// The image inside an .h5ad file, row by row as every image is read. It is small (2,000 pixels wide), so it is held.
#include <cstring>
#include <utility>

#include "data/decoder.h"
#include "data/spatial/h5ad.h"

namespace stflow {
namespace {

struct H5adDecoder : ImageReader::Decoder {
  Image image;
  explicit H5adDecoder(FileView f) : Decoder(std::move(f)), image(read_h5ad_image(file.path())) {
    width = image.width, height = image.height;
  }
  void next_row(uint8_t* rgb) override { std::memcpy(rgb, image.rgb.data() + row * width * 3, size_t(width) * 3); }
};

}  // namespace

std::unique_ptr<ImageReader::Decoder> open_h5ad_image(FileView file) { return std::make_unique<H5adDecoder>(std::move(file)); }

}  // namespace stflow
