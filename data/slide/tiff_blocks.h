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

  [[nodiscard]] const TiffPage& page() const { return page_; }
  /// "JPEG", "Deflate"...
  [[nodiscard]] std::string compression() const;
  /// Whether the file has nothing for this block: background, as scanners and converters that leave out glass mean it.
  [[nodiscard]] bool empty(int64_t i, int64_t j) const;
  /// The part of block (column i, row j) that lies inside the page. Throws Exit::data "<where>: <what the codec says>".
  [[nodiscard]] Image decode(int64_t i, int64_t j, const std::string& where) const;

 private:
  struct Handle;
  std::unique_ptr<Handle> take() const;
  void put_back(std::unique_ptr<Handle> handle) const;
  [[nodiscard]] uint64_t index(int64_t i, int64_t j, int plane) const;

  const FileView& file_;
  TiffPage page_;
  mutable std::mutex lock_;
  mutable std::vector<std::unique_ptr<Handle>> idle_;
};

}  // namespace stflow
