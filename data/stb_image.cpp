// BMP, GIF (its first frame), PNM and TGA through stb_image. Its decoders have a history of reading past their input, so they run in a
// child process, and on files small enough to be held whole.
#ifndef __clang_analyzer__  // which complains of the library's own code
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#endif
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_PNM
#define STBI_ONLY_PSD  // not read: from version 2.28 on PNM calls a function that is there for PSD or PNG only
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_NO_FAILURE_STRINGS
#define STBI_MAX_DIMENSIONS (1 << 24)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "data/child.h"
#include "data/decoder.h"

namespace stflow {
namespace {

struct StbDecoder final : ImageReader::Decoder {
  std::string format;
  std::string pixels;  // RGB, from the first row on

  StbDecoder(FileView f, std::string_view what) : Decoder(std::move(f)), format(what) {
    if (file.size() > INT_MAX) fail(Exit::data, "{}: {} bytes, expected less than 2 GiB of {}", file.path(), file.size(), format);
    const std::string answer = in_child_process(file.path(), format, {10, int64_t(64) << 20}, [&] {
      int size[3] = {};
      if (!stbi_info_from_memory(file.data(), int(file.size()), &size[0], &size[1], &size[2])) std::memset(size, 0, sizeof size);
      return std::string(reinterpret_cast<const char*>(size), sizeof size);
    });
    int size[3] = {};
    check(answer.size() == sizeof size, "{}: {} bytes of size", file.path(), answer.size());
    std::memcpy(size, answer.data(), sizeof size);
    width = size[0], height = std::abs(int64_t(size[1]));  // negative: a BMP from the top down
    check_size(false);
    constexpr int64_t kMost = int64_t(1) << 27;
    if (width * height > kMost)
      fail(Exit::data, "{}: header: {} x {} pixels, expected at most {} of {}", file.path(), width, height, kMost, format);
    if (!is_whole(size[2]))
      fail(Exit::data, "{}: {} x {} pixels in {} bytes, expected a whole {} image", file.path(), width, height, file.size(), format);
  }

  /// The library takes what a file lacks as zeros.
  [[nodiscard]] bool is_whole(int channels) const {
    const std::string_view bytes = file.text();
    const auto byte = [&](size_t i) { return i < bytes.size() ? int64_t(static_cast<unsigned char>(bytes[i])) : 0; };
    if (format == "GIF") return bytes.substr(0, bytes.find_last_not_of('\0') + 1).ends_with(';');
    if (format == "BMP") return byte(14) < 40 || (width * byte(28) + 31) / 32 * 4 * height <= int64_t(bytes.size());
    if (format == "PNM")
      return width * height * channels * (stbi_is_16_bit_from_memory(file.data(), int(file.size())) ? 2 : 1) <= int64_t(bytes.size());
    return true;  // a TGA is told from its last bytes
  }

  void next_row(uint8_t* rgb) override {
    if (pixels.empty()) decode();
    std::memcpy(rgb, pixels.data() + row * width * 3, size_t(width) * 3);
  }
  void decode() {
    const auto bytes = size_t(width * height * 3);
    // The library holds the picture up to three times over.
    pixels = in_child_process(file.path(), format, {60, int64_t(bytes) * 6 + (int64_t(64) << 20)}, [&]() -> std::string {
      int w = 0, h = 0, channels = 0;
      const std::unique_ptr<stbi_uc, void (*)(void*)> whole(stbi_load_from_memory(file.data(), int(file.size()), &w, &h, &channels, 4),
                                                            stbi_image_free);
      const stbi_uc* p = whole.get();
      if (!p || w != width || h != height) fail(Exit::data, "{}: damaged, expected a whole {} image", file.path(), format);
      std::string out(bytes, '\0');
      for (size_t i = 0; i < bytes / 3; i++)  // transparency is laid on white
        for (size_t c = 0; c < 3; c++) out[3 * i + c] = char((p[4 * i + c] * p[4 * i + 3] + 255 * (255 - p[4 * i + 3]) + 127) / 255);
      return out;
    });
    if (pixels.size() != bytes)
      fail(Exit::data, "{}: {} of {} bytes of pixels, expected a whole {} image", file.path(), pixels.size(), bytes, format);
  }
};

}  // namespace

std::unique_ptr<ImageReader::Decoder> open_stb(FileView file, std::string_view format) {
  return std::make_unique<StbDecoder>(std::move(file), format);
}

}  // namespace stflow
