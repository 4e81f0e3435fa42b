#include "data/slide/blocks.h"

#include <algorithm>

namespace stflow {

std::shared_ptr<const Block> BlockCache::get(int level, int64_t i, int64_t j) {
  const Key key{level, i, j};
  {
    const std::lock_guard<std::mutex> hold(lock_);
    if (const auto it = places_.find(key); it != places_.end()) {
      recent_.splice(recent_.begin(), recent_, it->second);
      return it->second->block;
    }
  }
  auto block = std::make_shared<const Block>(source_.block(level, i, j));
  const std::lock_guard<std::mutex> hold(lock_);
  if (const auto it = places_.find(key); it != places_.end()) return it->second->block;
  recent_.push_front({key, block});
  places_[key] = recent_.begin();
  bytes_ += int64_t(block->pixels.rgb.size());
  while (bytes_ > most_ && recent_.size() > 1) {
    bytes_ -= int64_t(recent_.back().block->pixels.rgb.size());
    places_.erase(recent_.back().key);
    recent_.pop_back();
  }
  return block;
}

void paste(const Image& from, int64_t from_x, int64_t from_y, Image& to, int64_t to_x, int64_t to_y) {
  const int64_t left = std::max(from_x, to_x), right = std::min(from_x + from.width, to_x + to.width);
  const int64_t top = std::max(from_y, to_y), bottom = std::min(from_y + from.height, to_y + to.height);
  if (left >= right) return;
  for (int64_t y = top; y < bottom; y++)
    std::copy_n(from.rgb.begin() + ((y - from_y) * from.width + left - from_x) * 3, (right - left) * 3,
                to.rgb.begin() + ((y - to_y) * to.width + left - to_x) * 3);
}

}  // namespace stflow
