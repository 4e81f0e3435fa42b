// Reads little-endian numbers one after another out of bytes that may lie: nothing is read beyond them.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "engine/error.h"

namespace stflow {

/// The one way from a file's size fields to sums and products: throws nothing, tells overflow.
inline bool checked_add(uint64_t a, uint64_t b, uint64_t& sum) { return !__builtin_add_overflow(a, b, &sum); }
inline bool checked_mul(uint64_t a, uint64_t b, uint64_t& product) { return !__builtin_mul_overflow(a, b, &product); }

class Cursor {
 public:
  /// `where` names the part of the file in messages, with what follows it: "" or "a/data.pkl: "; the place of its first byte there is
  /// `base`.
  Cursor(std::string_view bytes, std::string file, std::string where = "", uint64_t base = 0)
      : bytes_(bytes), file_(std::move(file)), where_(std::move(where)), base_(base) {}

  [[nodiscard]] size_t at() const { return at_; }
  [[nodiscard]] size_t left() const { return bytes_.size() - at_; }
  void seek(size_t at) { at_ = at <= bytes_.size() ? at : bytes_.size(); }

  /// Throws Exit::data "<file>: <where>byte <n>: ...", n the place last read from.
  template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) const {
    fail(Exit::data, "{}: {}byte {}: {}", file_, where_, base_ + start_, fmt::format(format, std::forward<A>(args)...));
  }
  /// Where the next refuse() points.
  void mark() { start_ = at_; }

  std::string_view take(uint64_t n, const char* what) {
    if (n > left()) refuse("{} of {} bytes, expected at most the {} that follow: truncated?", what, n, left());
    at_ += size_t(n);
    return bytes_.substr(at_ - size_t(n), size_t(n));
  }
  template <class T> T number(const char* what) {
    const std::string_view s = take(sizeof(T), what);
    uint64_t x = 0;
    for (size_t i = sizeof(T); i-- > 0;) x = x << 8 | static_cast<unsigned char>(s[i]);
    return T(x);
  }
  /// Up to the next newline, which is passed.
  std::string_view line(const char* what) {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse("{} without an end, expected a newline: truncated?", what);
    const std::string_view s = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }

 private:
  std::string_view bytes_;
  std::string file_, where_;
  uint64_t base_;
  size_t at_ = 0, start_ = 0;
};

}  // namespace stflow
