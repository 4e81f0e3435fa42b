// Tiles and strips of a TIFF page, decoded by libtiff (and OpenJPEG) to RGB.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/slide/tiff_directory.h"

struct tiff;

namespace stflow {

/// One page's decoder. A libtiff handle is one thread's at a time; as many are opened as threads ask at once.
class TiffBlocks {
 public:
  /// Refuses with Exit::data, naming tag and value, what no codec here decodes. `file` must outlive this.
  TiffBlocks(const FileView& file, TiffPage page);
  ~TiffBlocks();
  TiffBlocks(const TiffBlocks&) = delete;
  TiffBlocks& operator=(const TiffBlocks&) = delete;

  /// As in the file, but for long strips that are not compressed: these are taken apart, and the blocks are shorter.
  [[nodiscard]] const TiffPage& page() const { return page_; }
  /// "JPEG", "Deflate"...
  [[nodiscard]] std::string compression() const;
  /// The number of the tile or strip in the file, and whether there are no bytes for it; without a place either it is background, as
  /// scanners and converters that leave out glass mean it.
  [[nodiscard]] uint64_t index(int64_t i, int64_t j, int plane = 0) const;
  [[nodiscard]] bool empty(int64_t i, int64_t j) const { return page_.counts[index(i, j)] == 0; }
  [[nodiscard]] bool background(int64_t i, int64_t j) const { return empty(i, j) && page_.offsets[index(i, j)] == 0; }
  /// The part of block (column i, row j) that lies inside the page. Throws Exit::data "<where>: <what the codec says>".
  [[nodiscard]] Image decode(int64_t i, int64_t j, const std::string& where) const;

 private:
  struct Handle;
  std::unique_ptr<Handle> take() const;
  void put_back(std::unique_ptr<Handle> handle) const;
  [[nodiscard]] Image copy_rows(int64_t first, int64_t rows, const std::string& where) const;

  const FileView& file_;
  TiffPage page_;
  int64_t strip_rows_ = 0;  // of the file's strips, where they are taken apart
  mutable std::mutex lock_;
  mutable std::vector<std::unique_ptr<Handle>> idle_;
};

}  // namespace stflow
