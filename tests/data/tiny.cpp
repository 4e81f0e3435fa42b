#include "tests/data/tiny.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "data/png.h"

namespace stflow::test {

std::string gzip(std::string_view bytes) {
  z_stream s{};
  REQUIRE(deflateInit2(&s, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&s, uLong(bytes.size())) + 64, '\0');
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  s.avail_in = uInt(bytes.size());
  s.next_out = reinterpret_cast<Bytef*>(out.data());
  s.avail_out = uInt(out.size());
  REQUIRE(deflate(&s, Z_FINISH) == Z_STREAM_END);
  out.resize(s.total_out);
  deflateEnd(&s);
  return out;
}

Image picture(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++)
      for (int64_t c : {x * 3, y * 5, x + y}) image.rgb.push_back(uint8_t(c % 256));
  return image;
}

std::string jpeg(const Image& image, const JpegOptions& options) {
  jpeg_compress_struct c{};
  jpeg_error_mgr errors{};
  c.err = jpeg_std_error(&errors);
  jpeg_create_compress(&c);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&c, &bytes, &size);
  c.image_width = JDIMENSION(image.width), c.image_height = JDIMENSION(image.height);
  c.input_components = options.cmyk ? 4 : 3;
  c.in_color_space = options.cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, 95, TRUE);
  if (options.progressive) jpeg_simple_progression(&c);
  jpeg_start_compress(&c, TRUE);
  if (options.orientation != 1) {
    const unsigned char exif[] = {'E', 'x', 'i', 'f', 0,    0, 'M', 'M', 0, 42, 0, 0, 0,
                                  8,   0,   1,   1,   0x12, 0, 3,   0,   0, 0,  1, 0, static_cast<unsigned char>(options.orientation),
                                  0,   0,   0,   0,   0,    0};
    jpeg_write_marker(&c, JPEG_APP0 + 1, exif, sizeof exif);
  }
  std::vector<uint8_t> row(size_t(image.width) * 4);
  for (int64_t y = 0; y < image.height; y++) {
    for (int64_t x = 0; x < image.width; x++)
      for (int k = 0; k < c.input_components; k++)
        row[size_t(x * c.input_components + k)] =
            k < 3 ? image.rgb[size_t((y * image.width + x) * 3 + k)] : 255;  // inverted, as Adobe's marker says
    JSAMPROW rows[1] = {row.data()};
    jpeg_write_scanlines(&c, rows, 1);
  }
  jpeg_finish_compress(&c);
  std::string out(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&c);
  std::free(bytes);
  return out;
}

void tiny_section(const TempFolder& folder, const std::string& sample, const std::string& counts_of_first) {
  write_png(folder.path(sample + ".png"), picture(40, 30));
  folder.file(sample + ".tsv", "\tA\tB\tC\n1x1\t" + counts_of_first + "\n2x1\t0\t3\t4\n1x2\t5\t0\t6\n");
  folder.file("alignment_table_" + sample + ".tsv",
              "x\ty\tpixel_x\tpixel_y\tselected\n1\t1\t10\t10\t1\n2\t1\t20\t10\t1\n1\t2\t10\t20\t1\n");
}

}  // namespace stflow::test
