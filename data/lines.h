// Lines of a text file, plain or gzip (told from the content), read in pieces.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace stflow {

/// Reads `bytes`, which must outlive it. The members of a gzip file are joined and their checksums verified. LF and CRLF end a
/// line, a UTF-8 byte order mark is skipped. Throws Exit::data "<name>: line <n>: ..." for a truncated or damaged gzip stream,
/// for bytes after its end and for a line longer than 64 MiB; "<name>: is an HTML page..." for what is no text at all.
class Lines {
 public:
  Lines(std::string_view bytes, std::string name);
  ~Lines();
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  /// The next line without its end, valid until the next call; false at the end of the file.
  bool next(std::string_view& line);
  [[nodiscard]] int64_t number() const { return number_; }  // of the line last read, from 1
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Gzip;
  bool next_raw(std::string_view& line);

  std::string name_;
  std::string_view rest_;       // plain text that is not yet read
  std::unique_ptr<Gzip> gzip_;  // null for plain text
  int64_t number_ = 0;
};

}  // namespace stflow
