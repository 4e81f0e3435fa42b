#include "engine/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace stflow {
namespace {

template <class T> std::optional<T> parse_whole(std::string_view s) {
  if (s.starts_with('+')) s.remove_prefix(1);
  if (s.starts_with('+') || s.empty()) return {};
  T x{};
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), x);
  if (error != std::errc() || end != s.data() + s.size()) return {};
  return x;
}

template <class T> std::string shortest_of(T x) {
  if (std::isnan(x)) return "nan";
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, x).ptr};
}

/// Bytes of the UTF-8 character that starts at s[i]; 0 if there is none.
size_t utf8_length(std::string_view s, size_t i) {
  auto c = static_cast<unsigned char>(s[i]);
  size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (n == 0 || i + n > s.size()) return 0;
  for (size_t k = 1; k < n; k++)
    if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return 0;
  return n;
}

}  // namespace

std::optional<double> parse_number(std::string_view s) { return parse_whole<double>(s); }
std::optional<int64_t> parse_integer(std::string_view s) { return parse_whole<int64_t>(s); }

std::string shortest(float x) { return shortest_of(x); }
std::string shortest(double x) { return shortest_of(x); }

std::string shown(std::string_view s, size_t limit) {
  std::string out = "'";
  for (size_t i = 0; i < s.size();) {
    if (out.size() > limit) return out + "...'";
    size_t n = utf8_length(s, i);
    if (n == 0 || (n == 1 && (s[i] < ' ' || s[i] == 127))) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(s[i]));
      i++;
    } else {
      out += s.substr(i, n);
      i += n;
    }
  }
  return out + "'";
}

std::string listed(std::span<const std::string> names, size_t limit) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), limit); i++) out += (i ? ", " : "") + names[i];
  if (names.size() > limit) out += fmt::format(" and {} more", names.size() - limit);
  return out;
}

}  // namespace stflow
