// What the decoders of images share; only data/image.cpp and they include this.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/error.h"
#include "engine/file.h"

namespace stflow {

struct ImageReader::Decoder {
  FileView file;
  int64_t width = 0, height = 0, row = 0;  // row: the next one to decode
  std::vector<std::string> warnings;
  double mpp_x = 0, mpp_y = 0;  // microns per pixel by the file's density

  explicit Decoder(FileView f) : file(std::move(f)) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  virtual void next_row(uint8_t* rgb) = 0;

  /// Compares the size that a header claims with the bytes that exist, before anything of that size is allocated.
  void check_size(bool held_whole) const {
    constexpr int64_t kPixelsPerByte = 1024, kMostHeld = int64_t(1) << 27;
    if (width < 1 || height < 1) fail(Exit::data, "{}: header: {} x {} pixels, expected at least one", file.path(), width, height);
    if (width * height > kPixelsPerByte * int64_t(file.size()))
      fail(Exit::data, "{}: header: {} x {} pixels in {} bytes, expected a whole image", file.path(), width, height, file.size());
    if (held_whole && width * height > kMostHeld)
      fail(Exit::data, "{}: header: {} x {} pixels in progressive or interlaced order, expected at most {} pixels or plain order",
           file.path(), width, height, kMostHeld);
  }
};

std::unique_ptr<ImageReader::Decoder> open_jpeg(FileView file);
std::unique_ptr<ImageReader::Decoder> open_png(FileView file);
std::unique_ptr<ImageReader::Decoder> open_h5ad_image(FileView file);
/// BMP, GIF, PNM, TGA.
std::unique_ptr<ImageReader::Decoder> open_stb(FileView file, std::string_view format);

}  // namespace stflow
