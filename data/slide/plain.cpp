// JPEG, PNG and the other plain images as a slide of one level. They decode from the top down, so a block is a band of rows.
#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "data/slide/source.h"

namespace stflow {
namespace {

constexpr int64_t kBand = 256;

class PlainImage final : public SlideSource {
 public:
  explicit PlainImage(const std::string& path) : path_(path), reader_(std::in_place, path) {
    format = std::string(image_format(FileView(path).text()));
    by_rows = true;
    warnings = reader_->warnings();
    const auto [x, y] = reader_->density();
    constexpr double kLeast = 0.05, kMost = 10;  // 72 and 300 dpi, which mean nothing, are far outside
    if (x >= kLeast && x <= kMost && y >= kLeast && y <= kMost) mpp.push_back({format + " density", x, y});
    levels.push_back({reader_->width(), reader_->height(), 1, reader_->width(), std::min(kBand, reader_->height()), format});
  }

  Block block(int, int64_t, int64_t j) override {
    const std::lock_guard<std::mutex> hold(lock_);
    const int64_t width = levels[0].width, top = j * levels[0].tile_height, rows = std::min(levels[0].tile_height, levels[0].height - top);
    int64_t at = std::exchange(at_, INT64_MAX);  // so that a reader which throws is not asked again
    if (at > top) reader_.emplace(path_), at = 0;
    Image band{width, rows, std::vector<uint8_t>(size_t(width * rows * 3))};
    for (; at < top; at++) reader_->next_row(band.rgb.data());
    for (int64_t y = 0; y < rows; y++) reader_->next_row(band.rgb.data() + y * width * 3);
    at_ = top + rows;
    return {std::move(band), false};
  }

 private:
  std::string path_;
  std::mutex lock_;
  std::optional<ImageReader> reader_;
  int64_t at_ = 0;  // the reader's next row
};

}  // namespace

std::unique_ptr<SlideSource> open_plain(const std::string& path) { return std::make_unique<PlainImage>(path); }

}  // namespace stflow
