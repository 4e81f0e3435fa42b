// Images of tissue: JPEG and PNG, decoded row by row to 8-bit RGB, so that a 90-megapixel section needs a few rows of memory; BMP, GIF (its
// first frame), PNM and TGA, which are held whole.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stflow {

/// "JPEG", "PNG", "BMP", "GIF", "PNM", "AnnData" (HDF5) or "TGA" (whose only mark is its footer), from a file's bytes; "" for anything
/// else.
std::string_view image_format(std::string_view bytes);

/// A decoder positioned at a row. What the file is, is told from its content; of an .h5ad file it is the image in uns/spatial.
/// Refused with Exit::data: other formats by their name, a truncated or damaged file ("<file>: row <n>: ..."), more than
/// 1,024 pixels per byte of file (no whole image is that small), progressive or interlaced images of more than 2^27 pixels
/// (they have to be held whole) and progressive ones of more than 200 scans. CMYK becomes RGB as Pillow does it.
class ImageReader {
 public:
  /// Opens the file and reads its header only. Throws Exit::missing or Exit::data.
  explicit ImageReader(const std::string& path);
  ImageReader(ImageReader&&) noexcept;
  ~ImageReader();

  [[nodiscard]] int64_t width() const;
  [[nodiscard]] int64_t height() const;
  /// Decodes the next row into `rgb` (3 * width bytes). Grey becomes RGB, 16 bits become 8, transparency is laid on white.
  void next_row(uint8_t* rgb);
  /// What a user should know, e.g. that an EXIF orientation is ignored because coordinates refer to the stored pixels.
  [[nodiscard]] const std::vector<std::string>& warnings() const;
  /// Microns per pixel along x and y as the file's density says, 0 where it says none. Cameras and editors write 72 or 300 dpi of no
  /// meaning.
  [[nodiscard]] std::pair<double, double> density() const;

  struct Decoder;

 private:
  std::unique_ptr<Decoder> decoder_;
};

/// (height, width, 3) bytes.
struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

/// The whole image, every `reduce` x `reduce` block of pixels averaged into one (blocks at the right and lower edge may be smaller).
Image read_image(const std::string& path, int reduce = 1);

}  // namespace stflow
