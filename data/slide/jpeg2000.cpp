#include "data/slide/jpeg2000.h"

#include <fmt/core.h>
#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace stflow {
namespace {

struct Bytes {
  std::span<const uint8_t> all;
  size_t at = 0;
};

OPJ_SIZE_T read_bytes(void* to, OPJ_SIZE_T n, void* state) {
  auto& b = *static_cast<Bytes*>(state);
  const size_t some = std::min<size_t>(n, b.all.size() - b.at);
  if (some == 0) return OPJ_SIZE_T(-1);
  std::memcpy(to, b.all.data() + b.at, some);
  b.at += some;
  return some;
}
OPJ_OFF_T skip_bytes(OPJ_OFF_T n, void* state) {
  auto& b = *static_cast<Bytes*>(state);
  if (n < 0 || size_t(n) > b.all.size() - b.at) return -1;
  b.at += size_t(n);
  return n;
}
OPJ_BOOL seek_bytes(OPJ_OFF_T n, void* state) {
  auto& b = *static_cast<Bytes*>(state);
  if (n < 0 || size_t(n) > b.all.size()) return OPJ_FALSE;
  b.at = size_t(n);
  return OPJ_TRUE;
}

void note(const char* message, void* text) {
  auto& s = *static_cast<std::string*>(text);
  if (!s.empty()) return;
  s = message;
  std::replace(s.begin(), s.end(), '\n', ' ');
  while (!s.empty() && s.back() == ' ') s.pop_back();
}
void silent(const char*, void*) {}

struct Component {
  const OPJ_INT32* data;
  int64_t width, across, down;  // samples a row; pixels per sample
  int shift, offset;            // of the value, to 8 bits
  [[nodiscard]] int at(int64_t x, int64_t y) const {
    const int v = data[y / down * width + x / across] + offset;
    return std::clamp(shift >= 0 ? v >> shift : v << -shift, 0, 255);
  }
};

/// What is wrong with the sizes that the code stream's first segment (SIZ) claims, or nothing. Looked at before OpenJPEG sees them: it
/// allocates by the number of tiles and components.
std::string size_problem(std::span<const uint8_t> bytes, int64_t width, int64_t height) {
  constexpr uint8_t kStart[] = {0xff, 0x4f, 0xff, 0x51};
  const auto found = std::search(bytes.begin(), bytes.end(), std::begin(kStart), std::end(kStart));
  if (bytes.end() - found < 42) return "no code stream";
  const auto number = [&](int64_t at, int64_t n) {
    int64_t x = 0;
    for (int64_t i = 0; i < n; i++) x = x << 8 | found[at + i];
    return x;
  };
  const int64_t x1 = number(8, 4), y1 = number(12, 4), x0 = number(16, 4), y0 = number(20, 4), parts = number(40, 2);
  const int64_t tile_width = number(24, 4), tile_height = number(28, 4), tile_x0 = number(32, 4), tile_y0 = number(36, 4);
  if (x1 - x0 != width || y1 - y0 != height) return fmt::format("{} x {} pixels", x1 - x0, y1 - y0);
  if (parts != 1 && parts != 3 && parts != 4) return fmt::format("{} components", parts);
  const bool some = tile_width > 0 && tile_height > 0 && tile_x0 <= x0 && tile_y0 <= y0;
  if (!some || ((x1 - tile_x0 - 1) / tile_width + 1) * ((y1 - tile_y0 - 1) / tile_height + 1) > 64) return "not 1 to 64 tiles in a tile";
  return {};
}

/// Likewise of what OpenJPEG reads from the header.
std::string header_problem(const opj_image_t& image, int64_t width, int64_t height) {
  const int64_t w = int64_t(image.x1) - image.x0, h = int64_t(image.y1) - image.y0;
  if (w != width || h != height) return fmt::format("{} x {} pixels", w, h);
  if (image.numcomps != 1 && image.numcomps != 3 && image.numcomps != 4) return fmt::format("{} components", image.numcomps);
  for (uint32_t c = 0; c < image.numcomps; c++) {
    const opj_image_comp_t& k = image.comps[c];
    if (k.prec < 1 || k.prec > 16) return fmt::format("{} bits", k.prec);
    if (k.dx < 1 || k.dx > 2 || k.dy < 1 || k.dy > 2) return "components reduced by more than 2";
  }
  return {};
}

}  // namespace

Image decode_jpeg2000(std::span<const uint8_t> bytes, int64_t width, int64_t height, bool ycbcr, std::string& problem) {
  problem = size_problem(bytes, width, height);
  if (!problem.empty()) return {};
  const bool boxed = bytes.size() > 12 && std::memcmp(bytes.data(), "\0\0\0\x0cjP  \r\n\x87\n", 12) == 0;
  Bytes state{bytes};
  const std::unique_ptr<opj_codec_t, void (*)(opj_codec_t*)> codec(opj_create_decompress(boxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K),
                                                                   [](opj_codec_t* c) { opj_destroy_codec(c); });
  const std::unique_ptr<opj_stream_t, void (*)(opj_stream_t*)> stream(opj_stream_create(size_t(1) << 16, OPJ_TRUE),
                                                                      [](opj_stream_t* s) { opj_stream_destroy(s); });
  if (!codec || !stream) return problem = "no memory", Image{};
  opj_set_error_handler(codec.get(), note, &problem);
  opj_set_warning_handler(codec.get(), silent, nullptr);
  opj_set_info_handler(codec.get(), silent, nullptr);
  opj_stream_set_user_data(stream.get(), &state, nullptr);
  opj_stream_set_user_data_length(stream.get(), bytes.size());
  opj_stream_set_read_function(stream.get(), read_bytes);
  opj_stream_set_skip_function(stream.get(), skip_bytes);
  opj_stream_set_seek_function(stream.get(), seek_bytes);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  auto refuse = [&](const char* otherwise) {
    if (problem.empty()) problem = otherwise;
    return Image{};
  };
  if (!opj_setup_decoder(codec.get(), &parameters) || !opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE)) return refuse("no decoder");
  opj_image_t* raw = nullptr;
  const bool opened = opj_read_header(stream.get(), codec.get(), &raw) != 0;
  const std::unique_ptr<opj_image_t, void (*)(opj_image_t*)> image(raw, opj_image_destroy);
  if (!opened || !image) return refuse("no header");
  const std::string wrong = header_problem(*image, width, height);
  if (!wrong.empty()) return problem = wrong, Image{};
  if (!opj_decode(codec.get(), stream.get(), image.get()) || !opj_end_decompress(codec.get(), stream.get())) return refuse("no pixels");

  std::vector<Component> parts;
  for (uint32_t c = 0; c < image->numcomps; c++) {
    const opj_image_comp_t& k = image->comps[c];
    if (!k.data || int64_t(k.w) * k.dx < width || int64_t(k.h) * k.dy < height) return refuse("a component is too small");
    parts.push_back({k.data, k.w, k.dx, k.dy, int(k.prec) - 8, k.sgnd ? 1 << (k.prec - 1) : 0});
  }
  Image out{width, height, std::vector<uint8_t>(size_t(width * height * 3))};
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      uint8_t* p = out.rgb.data() + (y * width + x) * 3;
      const int a = parts[0].at(x, y);
      if (parts.size() == 1) {
        p[0] = p[1] = p[2] = uint8_t(a);
        continue;
      }
      const int b = parts[1].at(x, y), c = parts[2].at(x, y);
      if (ycbcr || parts[1].across == 2) {
        auto byte = [](double v) { return uint8_t(std::clamp(v + 0.5, 0.0, 255.0)); };
        p[0] = byte(a + 1.402 * (c - 128)), p[1] = byte(a - 0.344136 * (b - 128) - 0.714136 * (c - 128)),
        p[2] = byte(a + 1.772 * (b - 128));
      } else {
        p[0] = uint8_t(a), p[1] = uint8_t(b), p[2] = uint8_t(c);
      }
    }
  return out;
}

}  // namespace stflow
