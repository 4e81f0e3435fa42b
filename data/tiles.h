// Tiles of tissue for pretraining: random squares of large images, turned, rescaled and restained. Every tile is a pure
// function of (seed, step, slot), so that a resumed run sees what the uninterrupted one would have seen.
#pragma once
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/random.h"

namespace stflow {

/// How a tile may differ from what the scanner saw.
struct TileJitter {
  double scale = 0.25;  // the square's side is multiplied by exp(U(-scale, scale))
  double stain = 0.15;  // gain 1 + U(-stain, stain) on each of haematoxylin, eosin and the rest
  double base = 0.02;   // U(-base, base) added to each of them, in optical density
};

/// A file to cut tiles from, and the side of their squares in its pixels.
struct TileImage {
  std::string path;
  double side;
};

class TileSource {
 public:
  /// Tiles of size x size pixels from squares of each image's `side`. Reads the images (3 bytes per pixel stay in memory) and finds their
  /// tissue: blocks of 32 x 32 pixels that are coloured and neither white nor black. Throws what read_image() throws, and Exit::data for an
  /// image without tissue or smaller than the largest square.
  TileSource(const std::vector<TileImage>& images, int size, TileJitter jitter);

  /// A tile as optical density: size x size x 3, -ln((value + 1) / 256) per channel, about 0 (white) to 5.5 (black).
  void tile(const RandomKey& key, float* density) const;

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int64_t blocks() const { return int64_t(blocks_.size()); }  // of tissue, in all images

 private:
  struct Block {
    int image;
    int x, y;
  };  // upper left pixel
  int size_;
  TileJitter jitter_;
  std::vector<Image> images_;
  std::vector<double> sides_;  // of each image
  std::vector<Block> blocks_;
};

}  // namespace stflow
