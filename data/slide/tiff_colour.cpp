#include "data/slide/tiff_colour.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace stflow {
namespace {

enum Photometric : int { kWhiteIsZero = 0, kBlackIsZero = 1, kRgb = 2, kPalette = 3, kCmyk = 5, kYcbcr = 6 };
constexpr int kJpeg = 7;

bool jpeg_gives_rgb(const TiffPage& p) { return p.compression == kJpeg && p.photometric == kYcbcr && p.planar == 1; }

/// Samples that are colour; what follows them is transparency or nothing we know.
int colours(const TiffPage& p) {
  switch (p.photometric) {
    case kRgb:
    case kYcbcr: return 3;
    case kCmyk: return 4;
    default: return 1;
  }
}

uint8_t byte_of(double x) { return uint8_t(std::clamp(x + 0.5, 0.0, 255.0)); }

/// Full range, ITU-R BT.601, TIFF's default coefficients.
void ycbcr_to_rgb(int y, int cb, int cr, uint8_t* out) {
  const double b = cb - 128, r = cr - 128;
  out[0] = byte_of(y + 1.402 * r), out[1] = byte_of(y - 0.344136 * b - 0.714136 * r), out[2] = byte_of(y + 1.772 * b);
}

/// Units of h x v luminances, then Cb, then Cr.
Image from_units(const TiffPage& p, const std::vector<uint8_t>& data, int64_t stride, int64_t width, int64_t height) {
  Image image{width, height, std::vector<uint8_t>(size_t(width * height * 3))};
  const int64_t h = p.subsampling[0], v = p.subsampling[1], unit = h * v + 2, units = (stride + h - 1) / h;
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      const uint8_t* u = data.data() + ((y / v) * units + x / h) * unit;
      ycbcr_to_rgb(u[(y % v) * h + x % h], u[h * v], u[h * v + 1], image.rgb.data() + (y * width + x) * 3);
    }
  return image;
}

}  // namespace

void check_tiff_colours(const std::string& file, const TiffPage& p) {
  auto refuse = [&](int tag, int found, const std::string& expected) {
    fail(Exit::data, "{}: directory {}, {}: {}, expected {}", file, p.number, tiff_tag_name(tag), found, expected);
  };
  if (p.bits != 8 && p.bits != 16) refuse(258, p.bits, "8 or 16");
  if (p.format != 1) refuse(339, p.format, "1 (whole numbers)");
  const bool known = p.photometric == kWhiteIsZero || p.photometric == kBlackIsZero || p.photometric == kRgb || p.photometric == kPalette ||
                     p.photometric == kCmyk || p.photometric == kYcbcr;
  if (!known) refuse(262, p.photometric, "0 to 3, 5 or 6 (grey, RGB, palette, CMYK, YCbCr)");
  if (p.samples < colours(p)) refuse(277, p.samples, fmt::format("at least {} of PhotometricInterpretation {}", colours(p), p.photometric));
  if (p.photometric == kPalette && (p.bits != 8 || !p.colour_map)) refuse(262, p.photometric, "a palette of 8 bits with its ColorMap");
  if (p.photometric != kYcbcr || p.compression == kJpeg) return;
  const auto fine = [](int n) { return n == 1 || n == 2 || n == 4; };
  if (!fine(p.subsampling[0]) || !fine(p.subsampling[1]))
    refuse(530, fine(p.subsampling[0]) ? p.subsampling[1] : p.subsampling[0], "1, 2 or 4");
  const bool whole = p.subsampling[0] == 1 && p.subsampling[1] == 1;
  if (p.bits != 8) refuse(258, p.bits, "8 for YCbCr");
  if (!whole && (p.planar != 1 || p.samples != 3)) refuse(284, p.planar, "1 with 3 samples for YCbCr of reduced colour");
}

int64_t tiff_plane_bytes(const TiffPage& p, int64_t width, int64_t height) {
  if (p.photometric == kYcbcr && !jpeg_gives_rgb(p) && p.planar == 1 && p.samples == 3) {
    const int64_t h = p.subsampling[0], v = p.subsampling[1];
    return (width + h - 1) / h * ((height + v - 1) / v) * (h * v + 2);
  }
  return width * height * (p.bits / 8) * (p.planar == 2 ? 1 : p.samples);
}

Image tiff_to_rgb(const TiffPage& p, const std::vector<std::vector<uint8_t>>& planes, int64_t stride, int64_t width, int64_t height,
                  const std::vector<uint16_t>& map) {
  const bool ycbcr = p.photometric == kYcbcr && !jpeg_gives_rgb(p);
  if (ycbcr && p.planar == 1 && p.samples == 3) return from_units(p, planes[0], stride, width, height);
  Image image{width, height, std::vector<uint8_t>(size_t(width * height * 3))};
  const int n = p.samples, k = colours(p);
  // 0: something of no meaning to us, 1: colours multiplied by it, 2: not.
  const int alpha = n > k && !p.extra.empty() ? p.extra[0] : 0;
  auto sample = [&](int64_t pixel, int s) {
    const std::vector<uint8_t>& plane = planes[p.planar == 2 ? size_t(s) : 0];
    const auto at = size_t(p.planar == 2 ? pixel : pixel * n + s);
    if (p.bits == 8) return int(plane[at]);
    const uint32_t x = uint32_t(plane[2 * at]) | uint32_t(plane[2 * at + 1]) << 8;  // libtiff gives this machine's order: little-endian
    return int((x * 255 + 32895) >> 16);
  };
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      const int64_t at = y * stride + x;
      uint8_t* out = image.rgb.data() + (y * width + x) * 3;
      const int first = sample(at, 0);
      switch (p.photometric) {
        case kRgb: out[0] = uint8_t(first), out[1] = uint8_t(sample(at, 1)), out[2] = uint8_t(sample(at, 2)); break;
        case kPalette:
          for (size_t c = 0; c < 3; c++) out[c] = uint8_t(map[c * 256 + size_t(first)] >> 8);
          break;
        case kCmyk:
          for (int c = 0; c < 3; c++) out[c] = uint8_t(((255 - sample(at, c)) * (255 - sample(at, 3)) + 127) / 255);
          break;
        case kYcbcr:
          if (ycbcr) ycbcr_to_rgb(first, sample(at, 1), sample(at, 2), out);
          else out[0] = uint8_t(first), out[1] = uint8_t(sample(at, 1)), out[2] = uint8_t(sample(at, 2));
          break;
        default: out[0] = out[1] = out[2] = uint8_t(p.photometric == kWhiteIsZero ? 255 - first : first);
      }
      if (alpha != 1 && alpha != 2) continue;
      const int a = sample(at, k);
      for (int c = 0; c < 3; c++) {
        const int weighted = alpha == 2 ? (out[c] * a + 127) / 255 : int(out[c]);
        out[c] = uint8_t(std::min(255, weighted + 255 - a));
      }
    }
  return image;
}

}  // namespace stflow
