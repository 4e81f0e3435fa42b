// Decoded blocks: a bounded cache of them, and rectangles put together from them.
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "data/slide/source.h"

namespace stflow {

/// The blocks of a source that were used last, up to a number of bytes. From any thread; two that miss the same block both decode it.
class BlockCache {
 public:
  BlockCache(SlideSource& source, int64_t bytes) : source_(source), most_(bytes) {}
  std::shared_ptr<const Block> get(int level, int64_t i, int64_t j);

 private:
  using Key = std::tuple<int, int64_t, int64_t>;
  struct Entry {
    Key key;
    std::shared_ptr<const Block> block;
  };
  SlideSource& source_;
  int64_t most_, bytes_ = 0;
  std::mutex lock_;
  std::list<Entry> recent_;  // the one used last is in front
  std::map<Key, std::list<Entry>::iterator> places_;
};

/// Copies what two rectangles share: `from`, whose upper left pixel is (from_x, from_y), into `to`, whose is (to_x, to_y).
void paste(const Image& from, int64_t from_x, int64_t from_y, Image& to, int64_t to_x, int64_t to_y);

/// Calls use(i, j) for each block of a level that a rectangle touches, row by row.
template <class F> void for_blocks(const SlideLevel& level, int64_t x, int64_t y, int64_t width, int64_t height, F&& use) {
  const int64_t left = x < 0 ? 0 : x, top = y < 0 ? 0 : y;
  const int64_t right = x + width < level.width ? x + width : level.width, bottom = y + height < level.height ? y + height : level.height;
  if (left >= right || top >= bottom) return;
  for (int64_t j = top / level.tile_height; j <= (bottom - 1) / level.tile_height; j++)
    for (int64_t i = left / level.tile_width; i <= (right - 1) / level.tile_width; i++) use(i, j);
}

}  // namespace stflow
