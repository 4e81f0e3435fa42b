#include "data/image.h"

#include <algorithm>

#include "data/decoder.h"

namespace stflow {

ImageReader::ImageReader(const std::string& path) {
  FileView file(path);
  std::string_view what = sniff(file.text().substr(0, 512));
  if (what == "a JPEG image") decoder_ = open_jpeg(std::move(file));
  else if (what == "a PNG image") decoder_ = open_png(std::move(file));
  else if (what == "an HDF5 file") decoder_ = open_h5ad_image(std::move(file));
  else fail(Exit::data, "{}: is {}, expected a JPEG or PNG image", path, what.empty() ? "of an unknown format" : what);
}

ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader::~ImageReader() = default;

int64_t ImageReader::width() const { return decoder_->width; }
int64_t ImageReader::height() const { return decoder_->height; }
const std::vector<std::string>& ImageReader::warnings() const { return decoder_->warnings; }

void ImageReader::next_row(uint8_t* rgb) {
  check(decoder_->row < decoder_->height, "row {} read of an image of {}", decoder_->row, decoder_->height);
  decoder_->next_row(rgb);
  decoder_->row++;
}

Image read_image(const std::string& path, int reduce) {
  ImageReader reader(path);
  const int64_t r = reduce, width = reader.width(), height = reader.height();
  Image image{(width + r - 1) / r, (height + r - 1) / r, {}};
  image.rgb.resize(size_t(image.width * image.height * 3));
  std::vector<uint8_t> row(size_t(width) * 3);
  std::vector<int64_t> sums(size_t(image.width) * 3);
  for (int64_t y = 0; y < height; y++) {
    reader.next_row(row.data());
    for (int64_t x = 0; x < width; x++)
      for (int64_t c = 0; c < 3; c++) sums[size_t(x / r * 3 + c)] += row[size_t(x * 3 + c)];
    if ((y + 1) % r != 0 && y + 1 != height) continue;
    int64_t rows = y % r + 1;
    uint8_t* out = image.rgb.data() + y / r * image.width * 3;
    for (int64_t x = 0; x < image.width; x++) {
      int64_t pixels = rows * std::min(r, width - x * r);
      for (int64_t c = 0; c < 3; c++) out[x * 3 + c] = uint8_t((sums[size_t(x * 3 + c)] + pixels / 2) / pixels);
    }
    std::fill(sums.begin(), sums.end(), 0);
  }
  return image;
}

}  // namespace stflow
