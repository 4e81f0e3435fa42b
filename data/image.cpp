#include "data/image.h"

#include <algorithm>

#include "data/decoder.h"

namespace stflow {

std::string_view image_format(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xff\xd8\xff"sv)) return "JPEG"sv;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return "PNG"sv;
  if (bytes.starts_with("BM"sv) && bytes.size() > 26 && bytes.substr(6, 4) == "\0\0\0\0"sv) return "BMP"sv;
  if (bytes.starts_with("GIF87a"sv) || bytes.starts_with("GIF89a"sv)) return "GIF"sv;
  if (bytes.size() > 3 && (bytes.starts_with("P5"sv) || bytes.starts_with("P6"sv)) && " \t\r\n#"sv.find(bytes[2]) != bytes.npos)
    return "PNM"sv;
  if (bytes.starts_with("\x89HDF\r\n\x1a\n"sv)) return "AnnData"sv;
  if (bytes.ends_with("TRUEVISION-XFILE.\0"sv)) return "TGA"sv;
  return {};
}

ImageReader::ImageReader(const std::string& path) {
  FileView file(path);
  const std::string_view format = image_format(file.text());
  if (format == "JPEG") decoder_ = open_jpeg(std::move(file));
  else if (format == "PNG") decoder_ = open_png(std::move(file));
  else if (format == "AnnData") decoder_ = open_h5ad_image(std::move(file));
  else if (!format.empty()) decoder_ = open_stb(std::move(file), format);
  else {
    const std::string_view what = sniff(file.text().substr(0, 512));
    fail(Exit::data, "{}: is {}, expected a JPEG or PNG image", path, what.empty() ? "of an unknown format" : what);
  }
}

ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader::~ImageReader() = default;

int64_t ImageReader::width() const { return decoder_->width; }
int64_t ImageReader::height() const { return decoder_->height; }
const std::vector<std::string>& ImageReader::warnings() const { return decoder_->warnings; }

std::pair<double, double> ImageReader::density() const { return {decoder_->mpp_x, decoder_->mpp_y}; }

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
