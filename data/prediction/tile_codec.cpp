#include "data/prediction/tile_codec.h"

#include <zlib.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "engine/error.h"

namespace stflow {
namespace {

/// libjpeg leaves an error by calling back, from which only longjmp returns.
struct Errors {
  jpeg_error_mgr base{};
  std::jmp_buf jump{};
  [[noreturn]] static void leave(j_common_ptr c) { std::longjmp(reinterpret_cast<Errors*>(c->err)->jump, 1); }
};

/// False where libjpeg gave up. No object with a destructor lives between setjmp and longjmp.
bool compress(jpeg_compress_struct& c, Errors& errors, const uint8_t* rgb, int side, int quality, unsigned char** bytes,
              unsigned long* size) {
  if (setjmp(errors.jump)) return false;
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, bytes, size);
  c.image_width = c.image_height = JDIMENSION(side);
  c.input_components = 3, c.in_color_space = JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, quality, TRUE);
  jpeg_start_compress(&c, TRUE);
  for (int y = 0; y < side; y++) {
    JSAMPROW row[1] = {const_cast<uint8_t*>(rgb) + size_t(3) * size_t(side) * size_t(y)};
    jpeg_write_scanlines(&c, row, 1);
  }
  jpeg_finish_compress(&c);
  return true;
}

}  // namespace

std::string jpeg_tile(const std::vector<uint8_t>& rgb, int side, int quality) {
  jpeg_compress_struct c{};
  Errors errors;
  c.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = Errors::leave;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const bool done = compress(c, errors, rgb.data(), side, quality, &bytes, &size);
  jpeg_destroy_compress(&c);
  std::string out;
  if (done) out.assign(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  if (!done) fail(Exit::memory, "a tile of {} x {} pixels: JPEG failed, expected memory for it", side, side);
  return out;
}

std::string deflate_tile(const std::vector<uint8_t>& rgb, int side) {
  std::vector<uint8_t> differences = rgb;
  const auto row = size_t(3) * size_t(side);
  for (size_t i = differences.size(); i-- > 0;)
    if (i % row >= 3) differences[i] = uint8_t(differences[i] - differences[i - 3]);
  uLongf size = compressBound(uLong(differences.size()));
  std::string out(size, '\0');
  check(compress2(reinterpret_cast<Bytef*>(out.data()), &size, differences.data(), uLong(differences.size()), 6) == Z_OK,
        "a tile of {} x {} pixels: deflate failed", side, side);
  out.resize(size);
  return out;
}

}  // namespace stflow
