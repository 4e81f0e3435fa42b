// Zip archives whose records are stored, not deflated, as PyTorch writes them: each record is a range of the mapped file.
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/file.h"

namespace stflow {

struct ZipRecord {
  std::string_view name;
  std::string_view bytes;
  uint32_t crc = 0;
};

class ZipArchive {
 public:
  /// Reads the directory (zip64 too). Throws Exit::data "<file>: byte <n>: ..." for a record that is deflated, encrypted or named twice,
  /// lies outside the file or over another, or whose local header says something else than the directory. The view must outlive it.
  explicit ZipArchive(const FileView& file);

  [[nodiscard]] const std::vector<ZipRecord>& records() const { return records_; }
  /// Null if there is none of this name.
  [[nodiscard]] const ZipRecord* find(std::string_view name) const;
  /// Throws Exit::data if the record's CRC-32 is not the one in the directory. Reads the whole record.
  void verify(const ZipRecord& record) const;

 private:
  std::string path_;
  std::vector<ZipRecord> records_;
  std::map<std::string_view, size_t> index_;
};

}  // namespace stflow
