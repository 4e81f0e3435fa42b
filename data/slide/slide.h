// Slides: whatever a scanner, a converter or a camera wrote, read by rectangle from the level that fits.
//
// TIFF in all its kinds (BigTIFF, OME-TIFF, Aperio SVS, generic pyramids, strips) is read by this program through libtiff and OpenJPEG;
// formats of vendors that are not plain TIFF (NDPI, MRXS, SCN, BIF, VMS, Philips, Trestle, Sakura...) through OpenSlide, which is opened at
// run time; JPEG, PNG, BMP, GIF, PNM and TGA as an image of one level.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/image.h"

namespace stflow {

struct SlideLevel {
  int64_t width = 0, height = 0;
  double downsample = 1;                    // level-0 pixels per pixel, the mean of both axes
  int64_t tile_width = 0, tile_height = 0;  // of what the file decodes at once
  std::string compression;
};

/// Microns per pixel of level 0, as one source states it.
struct MppClaim {
  std::string from;  // "Aperio MPP", "TIFF XResolution"...
  double x = 0, y = 0;
};

struct SlideOptions {
  double mpp = 0;                           // --mpp: overrides what the file says; 0: none
  std::map<std::string, double> mpp_of;     // --mpp-csv: by file name or its stem; overrides too
  bool skip_bad_tiles = false;              // --bad-tiles skip: what cannot be decoded is white and reported
  int64_t cache_bytes = int64_t(64) << 20;  // decoded blocks that are kept
};

class SlideImage {
 public:
  /// What the file is, is told from its content. Reads directories and headers, no pixels. Throws Exit::missing; Exit::data for a format
  /// that is not read, a damaged directory, tiles that end past the file.
  explicit SlideImage(const std::string& path, const SlideOptions& options = {});
  SlideImage(SlideImage&&) noexcept;
  ~SlideImage();

  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] const std::string& format() const;
  [[nodiscard]] const std::vector<SlideLevel>& levels() const;
  [[nodiscard]] int64_t width() const { return levels()[0].width; }
  [[nodiscard]] int64_t height() const { return levels()[0].height; }
  /// Whether the file can only be decoded from its top to its bottom (JPEG, PNG...): many patches are then cut by cut_patches().
  [[nodiscard]] bool by_rows() const;
  [[nodiscard]] const std::vector<std::string>& warnings() const;
  [[nodiscard]] const std::vector<std::string>& notes() const;

  /// Microns per pixel of level 0 and where that comes from; 0 and "" if mpp_problem() says why it is not known.
  [[nodiscard]] double mpp() const;
  [[nodiscard]] const std::string& mpp_from() const;
  [[nodiscard]] const std::string& mpp_problem() const;
  [[nodiscard]] const std::vector<MppClaim>& mpp_claims() const;
  /// mpp(); throws Exit::data with the problem where it is not known.
  [[nodiscard]] double known_mpp() const;

  /// The rectangle of a level, in that level's pixels; white outside. Safe from several threads. Throws Exit::data naming tile and level
  /// for one that cannot be decoded, unless they are skipped: then `bad` (optional) is set if the rectangle touches one.
  [[nodiscard]] Image read(int level, int64_t x, int64_t y, int64_t width, int64_t height, bool* bad = nullptr) const;
  /// The square of `side` level-0 pixels whose upper left corner is (x, y), resampled to size x size from the coarsest level that has at
  /// least that many pixels. From level 0 these are the bytes of cut_patches(). Threads and `bad` as for read(). Throws Exit::data for a
  /// side of more than 65,536 pixels.
  [[nodiscard]] Image patch(int64_t x, int64_t y, int64_t side, int size, bool* bad = nullptr) const;
  /// The level that patch() reads.
  [[nodiscard]] int level_for(int64_t side, int size) const;
  /// The whole slide with `longest` pixels on its longer side (never more than it has), from the coarsest level that has as many. Memory is
  /// that of the result and a few blocks.
  [[nodiscard]] Image thumbnail(int64_t longest) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether OpenSlide knows the file, which is neither TIFF nor an image. Only files that begin as such formats do are shown to it.
bool knows_slide(const std::string& path);

/// The table of --mpp-csv: columns wsi and mpp, as TRIDENT's list of slides has them. Throws Exit::data.
std::map<std::string, double> read_mpp_csv(const std::string& path);

}  // namespace stflow
