// PNG through libpng.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "data/decoder.h"

namespace stflow {
namespace {

struct Png final : ImageReader::Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  size_t at = 0;               // the next byte of the file
  char text[200] = {};         // libpng's last error
  std::vector<uint8_t> whole;  // an interlaced image, decoded at its first row
  std::vector<png_bytep> pointers;
  bool interlaced = false;

  explicit Png(FileView f) : Decoder(std::move(f)) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, leave, [](png_structp, png_const_charp) {});
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      fail(Exit::memory, "memory: no room to decode {}", file.path());
    }
    if (setjmp(png_jmpbuf(png))) refuse(true);
    png_set_user_limits(png, 1'000'000, 1'000'000);
    png_set_chunk_malloc_max(png, png_alloc_size_t(8) << 20);
    png_set_chunk_cache_max(png, 100);
    png_set_read_fn(png, this, read);
    png_read_info(png, info);
    set_up();
  }
  ~Png() override { png_destroy_read_struct(&png, &info, nullptr); }

  [[noreturn]] static void leave(png_structp p, png_const_charp message) {
    auto* self = static_cast<Png*>(png_get_error_ptr(p));
    std::strncpy(self->text, message, sizeof self->text - 1);
    png_longjmp(p, 1);
  }
  static void read(png_structp p, png_bytep out, size_t n) {
    auto* self = static_cast<Png*>(png_get_io_ptr(p));
    if (n > self->file.size() - self->at) png_error(p, "the file ends early");
    std::memcpy(out, self->file.data() + self->at, n);
    self->at += n;
  }

  /// Asks for 8-bit RGB whatever the file has.
  void set_up() {
    width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    interlaced = png_get_interlace_type(png, info) != PNG_INTERLACE_NONE;
    try {
      check_size(interlaced);
    } catch (...) {
      png_destroy_read_struct(&png, &info, nullptr);  // no destructor runs after a throwing constructor
      throw;
    }
    const double x = png_get_x_pixels_per_meter(png, info), y = png_get_y_pixels_per_meter(png, info);
    if (x > 0 && y > 0) mpp_x = 1e6 / x, mpp_y = 1e6 / y;
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_color_16 white{};
    white.red = white.green = white.blue = 255;
    png_set_background(png, &white, PNG_BACKGROUND_GAMMA_SCREEN, 0, 1.0);
    if (interlaced) png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != size_t(width) * 3) png_error(png, "colours that do not become RGB");
  }

  [[noreturn]] void refuse(bool in_constructor) {
    if (in_constructor) png_destroy_read_struct(&png, &info, nullptr);
    fail(Exit::data, "{}: {}: {}, expected a whole PNG image", file.path(), in_constructor ? "header" : fmt::format("row {}", row), text);
  }

  void next_row(uint8_t* rgb) override {
    if (interlaced && whole.empty()) {
      whole.resize(size_t(width * height * 3));
      for (int64_t y = 0; y < height; y++) pointers.push_back(whole.data() + y * width * 3);
    }
    decode(rgb);
  }
  void decode(uint8_t* rgb) {
    if (setjmp(png_jmpbuf(png))) refuse(false);
    if (interlaced) {
      if (row == 0) png_read_image(png, pointers.data());
      std::copy_n(pointers[size_t(row)], width * 3, rgb);
    } else {
      png_read_row(png, rgb, nullptr);
    }
    if (row + 1 == height) png_read_end(png, nullptr);
  }
};

}  // namespace

std::unique_ptr<ImageReader::Decoder> open_png(FileView file) { return std::make_unique<Png>(std::move(file)); }

}  // namespace stflow
