// Large text out, plain or gzip.
#pragma once
#include <zlib.h>

#include <string>
#include <string_view>

#include "engine/file.h"

namespace stflow {

/// Text into a file, in large pieces, through gzip if wanted; the same bytes for the same text. Atomic: the file is there after commit().
/// Throws Exit::create or Exit::io.
class TextOut {
 public:
  TextOut(const std::string& path, bool gzip);
  TextOut(const TextOut&) = delete;
  TextOut& operator=(const TextOut&) = delete;
  ~TextOut();

  TextOut& operator<<(std::string_view text);
  void commit();

 private:
  void put(int flush);

  std::string path_, text_;
  FileWriter file_;
  z_stream z_{};
  bool gzip_;
};

/// "[x,y]", as GeoJSON has a point.
std::string json_point(double x, double y);

}  // namespace stflow
