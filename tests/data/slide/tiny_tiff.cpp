#include "tests/data/slide/tiny_tiff.h"

#include <doctest/doctest.h>
#include <openjpeg.h>
#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/file.h"

namespace stflow::test {
namespace {

/// A code stream of the tile, whose components are given (RGB, or Y, Cb, Cr).
std::string jpeg2000(const std::vector<uint8_t>& pixels, int64_t side, bool ycbcr) {
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.numresolution = 3, parameters.tcp_numlayers = 1, parameters.cp_disto_alloc = 1;
  parameters.tcp_mct = char(ycbcr ? 0 : 1);
  opj_image_cmptparm_t parts[3] = {};
  for (auto& p : parts) p.dx = p.dy = 1, p.w = p.h = uint32_t(side), p.prec = 8;
  opj_image_t* image = opj_image_create(3, parts, OPJ_CLRSPC_SRGB);
  image->x1 = image->y1 = uint32_t(side);
  for (int64_t i = 0; i < side * side; i++)
    for (int64_t c = 0; c < 3; c++) image->comps[c].data[i] = pixels[size_t(3 * i + c)];
  opj_codec_t* codec = opj_create_compress(OPJ_CODEC_J2K);
  REQUIRE(opj_setup_encoder(codec, &parameters, image));
  std::string out;
  opj_stream_t* stream = opj_stream_create(1 << 16, OPJ_FALSE);
  opj_stream_set_user_data(stream, &out, nullptr);
  opj_stream_set_write_function(stream, [](void* p, OPJ_SIZE_T n, void* to) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(p), n);
    return n;
  });
  opj_stream_set_seek_function(stream, [](OPJ_OFF_T, void*) { return OPJ_BOOL(OPJ_FALSE); });
  opj_stream_set_skip_function(stream, [](OPJ_OFF_T, void*) { return OPJ_OFF_T(-1); });
  REQUIRE(opj_start_compress(codec, image, stream));
  REQUIRE(opj_encode(codec, stream));
  REQUIRE(opj_end_compress(codec, stream));
  opj_stream_destroy(stream), opj_destroy_codec(codec), opj_image_destroy(image);
  return out;
}

bool is_jpeg2000(int compression) { return compression == 33003 || compression == 33005; }

/// RGB as the samples that a kind stores.
std::vector<int> samples_of(const uint8_t* p, const TiffKind& k) {
  std::vector<int> s;
  const int r = p[0], g = p[1], b = p[2];
  const auto byte = [](double v) { return int(std::clamp(v + 0.5, 0.0, 255.0)); };
  switch (k.photometric) {
    case PHOTOMETRIC_MINISWHITE: s = {255 - r}; break;
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE: s = {r}; break;
    case PHOTOMETRIC_SEPARATED: s = {255 - r, 255 - g, 255 - b, 0}; break;
    case PHOTOMETRIC_YCBCR:
      s = k.compression == COMPRESSION_JPEG
              ? std::vector<int>{r, g, b}
              : std::vector<int>{byte(0.299 * r + 0.587 * g + 0.114 * b), byte(128 - 0.168736 * r - 0.331264 * g + 0.5 * b),
                                 byte(128 + 0.5 * r - 0.418688 * g - 0.081312 * b)};
      break;
    default: s = {r, g, b};
  }
  if (k.extra >= 0) s.push_back(128);
  return s;
}

/// The samples of a rectangle, as libtiff takes them; outside the image the last pixel goes on.
std::vector<uint8_t> packed(const Image& image, const TiffKind& k, int64_t x0, int64_t y0, int64_t width, int64_t height, int plane) {
  std::vector<uint8_t> out;
  auto at = [&](int64_t x, int64_t y) {
    const int64_t cx = std::min(x, image.width - 1), cy = std::min(y, image.height - 1);
    return samples_of(image.rgb.data() + (cy * image.width + cx) * 3, k);
  };
  auto put = [&](int v) {
    if (k.bits == 8) return out.push_back(uint8_t(v));
    const auto wide = uint16_t(v * 257);
    out.push_back(uint8_t(wide & 255)), out.push_back(uint8_t(wide >> 8));
  };
  const int64_t n = k.subsampling;
  if (n > 1) {
    for (int64_t y = 0; y < height; y += n)
      for (int64_t x = 0; x < width; x += n) {
        for (int64_t i = 0; i < n * n; i++) put(at(x0 + x + i % n, y0 + y + i / n)[0]);
        put(at(x0 + x, y0 + y)[1]), put(at(x0 + x, y0 + y)[2]);
      }
    return out;
  }
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      const std::vector<int> s = at(x0 + x, y0 + y);
      if (k.planar) put(s[size_t(plane)]);
      else
        for (const int v : s) put(v);
    }
  return out;
}

void set_tags(TIFF* t, const Image& image, const TiffKind& k, int samples) {
  TIFFSetField(t, TIFFTAG_IMAGEWIDTH, uint32_t(image.width));
  TIFFSetField(t, TIFFTAG_IMAGELENGTH, uint32_t(image.height));
  TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, k.bits);
  TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, samples);
  TIFFSetField(t, TIFFTAG_PHOTOMETRIC, k.photometric);
  TIFFSetField(t, TIFFTAG_PLANARCONFIG, k.planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  TIFFSetField(t, TIFFTAG_COMPRESSION, is_jpeg2000(k.compression) ? COMPRESSION_NONE : k.compression);
  if (k.compression == COMPRESSION_JPEG) {
    TIFFSetField(t, TIFFTAG_JPEGQUALITY, 95);
    if (k.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  }
  if (k.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(t, TIFFTAG_YCBCRSUBSAMPLING, k.subsampling, k.subsampling);
  if (k.photometric == PHOTOMETRIC_PALETTE) {
    std::vector<uint16_t> map(256);
    for (size_t i = 0; i < 256; i++) map[i] = uint16_t(i << 8);
    TIFFSetField(t, TIFFTAG_COLORMAP, map.data(), map.data(), map.data());
  }
  if (k.extra >= 0) {
    const uint16_t kind[] = {uint16_t(k.extra)};
    TIFFSetField(t, TIFFTAG_EXTRASAMPLES, 1, kind);
  }
  if (k.tile > 0) TIFFSetField(t, TIFFTAG_TILEWIDTH, uint32_t(k.tile)), TIFFSetField(t, TIFFTAG_TILELENGTH, uint32_t(k.tile));
  else TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, uint32_t(k.compression == COMPRESSION_JPEG || k.subsampling > 1 ? 16 : k.rows));
  if (!k.description.empty()) TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, k.description.c_str());
  if (!k.software.empty()) TIFFSetField(t, TIFFTAG_SOFTWARE, k.software.c_str());
  if (k.subfile) TIFFSetField(t, TIFFTAG_SUBFILETYPE, k.subfile);
  if (k.per_cm <= 0) return;
  TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
  TIFFSetField(t, TIFFTAG_XRESOLUTION, k.per_cm);
  TIFFSetField(t, TIFFTAG_YRESOLUTION, k.per_cm);
}

void write_page(TIFF* t, const TiffPageOut& page) {
  const auto& [image, k] = page;
  const int samples = int(samples_of(image.rgb.data(), k).size()), planes = k.planar ? samples : 1;
  set_tags(t, image, k, samples);
  const int64_t side = k.tile, rows = k.compression == COMPRESSION_JPEG || k.subsampling > 1 ? 16 : k.rows;
  uint32_t n = 0;
  for (int plane = 0; plane < planes; plane++) {
    if (side == 0) {
      for (int64_t y = 0; y < image.height; y += rows) {
        std::vector<uint8_t> strip = packed(image, k, 0, y, image.width, std::min(rows, image.height - y), plane);
        REQUIRE(TIFFWriteEncodedStrip(t, n++, strip.data(), tmsize_t(strip.size())) >= 0);
      }
      continue;
    }
    for (int64_t y = 0; y < image.height; y += side)
      for (int64_t x = 0; x < image.width; x += side, n++) {
        if (int64_t(n) == k.leave_out) continue;
        std::vector<uint8_t> tile = packed(image, k, x, y, side, side, plane);
        if (is_jpeg2000(k.compression)) {
          const std::string stream = jpeg2000(tile, side, k.compression == 33003);
          REQUIRE(TIFFWriteRawTile(t, n, const_cast<char*>(stream.data()), tmsize_t(stream.size())) >= 0);
        } else {
          REQUIRE(TIFFWriteEncodedTile(t, n, tile.data(), tmsize_t(tile.size())) >= 0);
        }
      }
  }
}

}  // namespace

std::string write_tiff(const std::string& path, const std::vector<TiffPageOut>& pages) {
  TIFF* t = TIFFOpen(path.c_str(), pages.at(0).kind.mode.c_str());
  REQUIRE(t);
  for (const TiffPageOut& page : pages) {
    if (page.kind.children) {
      std::vector<toff_t> places(pages.size() - 1, 0);
      TIFFSetField(t, TIFFTAG_SUBIFD, uint16_t(places.size()), places.data());
    }
    write_page(t, page);
    REQUIRE(TIFFWriteDirectory(t));
  }
  TIFFClose(t);
  for (size_t i = 0; i < pages.size(); i++)
    if (const int compression = pages[i].kind.compression; is_jpeg2000(compression))
      write_atomic(path, with_tag(read_text(path), 259, uint32_t(compression), int(i)));
  return path;
}

Image waves(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++)
      for (const double v : {std::sin(double(x) / 17), std::cos(double(y) / 13), std::sin(double(x + y) / 23)})
        image.rgb.push_back(uint8_t(128 + 100 * v));
  return image;
}

Image halved(const Image& image) {
  Image half{image.width / 2, image.height / 2, {}};
  for (int64_t y = 0; y < half.height; y++)
    for (int64_t x = 0; x < half.width; x++)
      for (int64_t c = 0; c < 3; c++) {
        int sum = 2;
        for (int64_t k = 0; k < 4; k++) sum += image.rgb[size_t(((2 * y + k / 2) * image.width + 2 * x + k % 2) * 3 + c)];
        half.rgb.push_back(uint8_t(sum / 4));
      }
  return half;
}

int largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.width == b.width);
  REQUIRE(a.rgb.size() == b.rgb.size());
  int worst = 0;
  for (size_t i = 0; i < a.rgb.size(); i++) worst = std::max(worst, std::abs(int(a.rgb[i]) - int(b.rgb[i])));
  return worst;
}

std::string with_tag(std::string bytes, int tag, uint32_t now, int directory) {
  const auto number = [&](size_t at, size_t n) {
    uint32_t x = 0;
    for (size_t i = 0; i < n; i++) x |= uint32_t(static_cast<unsigned char>(bytes.at(at + i))) << 8 * i;
    return x;
  };
  size_t at = number(4, 4);
  for (int d = 0; d < directory; d++) at = number(at + 2 + 12 * number(at, 2), 4);
  for (size_t i = 0; i < number(at, 2); i++) {
    const size_t entry = at + 2 + 12 * i;
    if (int(number(entry, 2)) != tag) continue;
    const size_t bytes_each = number(entry + 2, 2) == 3 ? 2 : 4, count = number(entry + 4, 4);
    const size_t value = bytes_each * count <= 4 ? entry + 8 : number(entry + 8, 4);
    for (size_t b = 0; b < bytes_each; b++) bytes[value + b] = char(now >> 8 * b & 255);
    return bytes;
  }
  FAIL("no tag " << tag);
  return bytes;
}

}  // namespace stflow::test
