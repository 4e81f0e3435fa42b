// What a slide's back end gives: TIFF pyramids, plain images and vendor formats look alike from here on. Only data/slide/ includes this.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/slide/slide.h"
#include "engine/error.h"
#include "engine/file.h"

namespace stflow {

/// A decoded rectangle of a level: the unit in which a file stores pixels. Edge blocks hold only what lies inside the level.
struct Block {
  Image pixels;
  bool bad = false;  // could not be decoded, and was made white because the options say so
};

class SlideSource {
 public:
  SlideSource() = default;
  SlideSource(const SlideSource&) = delete;
  SlideSource& operator=(const SlideSource&) = delete;
  virtual ~SlideSource() = default;

  std::vector<SlideLevel> levels;     // largest first, at least one
  std::vector<MppClaim> mpp;          // what the file says of itself
  std::vector<std::string> warnings;  // whole lines
  std::vector<std::string> notes;     // what is worth knowing and no fault
  std::string format;                 // "Aperio SVS", "BigTIFF"...
  bool by_rows = false;               // no random access: whoever wants much should walk it from the top

  /// The block in column i, row j of the grid of tile_width x tile_height blocks of a level. Called from any thread.
  virtual Block block(int level, int64_t i, int64_t j) = 0;
};

/// Throws Exit::data for what none of them reads.
std::unique_ptr<SlideSource> open_tiff(const std::string& path, FileView file, const SlideOptions& options);
std::unique_ptr<SlideSource> open_plain(const std::string& path);
std::unique_ptr<SlideSource> open_openslide(const std::string& path);
/// Whether OpenSlide knows the file; false as well where the library is not installed. Asked in a child process.
bool openslide_knows(const std::string& path);

}  // namespace stflow
