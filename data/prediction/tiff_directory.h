// The entries of one image in a TIFF file, classic or BigTIFF, little-endian.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace stflow {

/// Collects entries in rising order of their tags and lays them out: numbers that do not fit an entry come before the directory.
class TiffDirectory {
 public:
  explicit TiffDirectory(bool big) : big_(big) {}

  void shorts(uint16_t tag, const std::vector<uint64_t>& values) { add(tag, 3, 2, values); }
  void longs(uint16_t tag, const std::vector<uint64_t>& values) { add(tag, 4, 4, values); }
  /// Places in the file.
  void offsets(uint16_t tag, const std::vector<uint64_t>& values) { add(tag, big_ ? 16 : 4, width(), values); }
  /// Places of other directories.
  void directories(uint16_t tag, const std::vector<uint64_t>& values) { add(tag, big_ ? 18 : 13, width(), values); }
  void rational(uint16_t tag, uint32_t numerator, uint32_t denominator) { add(tag, 5, 4, {numerator, denominator}, 1); }
  void text(uint16_t tag, const std::string& value);

  /// The bytes to put at `place` of the file, and where in the file the directory then begins.
  [[nodiscard]] std::string bytes(uint64_t place, uint64_t& begin) const;
  [[nodiscard]] int width() const { return big_ ? 8 : 4; }

 private:
  struct Entry {
    uint16_t tag, type;
    uint64_t count;
    std::string content;
  };
  void add(uint16_t tag, uint16_t type, int bytes_each, const std::vector<uint64_t>& values, uint64_t count = 0);

  bool big_;
  std::vector<Entry> entries_;
};

/// `bytes` bytes of a number, the lowest first.
std::string little_endian(uint64_t value, int bytes);

}  // namespace stflow
