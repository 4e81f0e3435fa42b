#include "data/lines.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/error.h"
#include "engine/file.h"

namespace stflow {
namespace {

constexpr size_t kLongestLine = size_t(64) << 20;

}  // namespace

/// Inflates into a buffer that holds the line being read.
struct Lines::Gzip {
  std::string_view rest;
  z_stream stream{};
  std::string buffer;
  size_t start = 0, scanned = 0;  // the next line starts at `start`; there is no '\n' in [start, scanned)
  bool open = false;              // inside a member

  explicit Gzip(std::string_view bytes) : rest(bytes) {
    if (inflateInit2(&stream, 15 + 16) != Z_OK) fail(Exit::memory, "memory: no room to inflate a gzip file");
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
  ~Gzip() { inflateEnd(&stream); }

  /// Adds inflated bytes to the buffer; false at the end of the last member.
  bool more(const std::string& name, int64_t line) {
    if (!open) {
      if (rest.empty()) return false;
      if (!rest.starts_with("\x1f\x8b"))
        fail(Exit::data, "{}: line {}: {} bytes after the end of the gzip data, expected the end of the file", name, line, rest.size());
      inflateReset(&stream);
      open = true;
    }
    constexpr size_t kPiece = size_t(1) << 18;
    buffer.erase(0, start);
    scanned -= start, start = 0;
    size_t had = buffer.size();
    buffer.resize(had + kPiece);
    size_t offered = std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
    stream.avail_in = uInt(offered);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data() + had);
    stream.avail_out = uInt(kPiece);
    int result = inflate(&stream, Z_NO_FLUSH);
    rest.remove_prefix(offered - stream.avail_in);
    buffer.resize(had + kPiece - stream.avail_out);
    if (result == Z_STREAM_END) {
      open = false;
    } else if (result == Z_BUF_ERROR || (result == Z_OK && rest.empty() && stream.avail_out > 0)) {
      fail(Exit::data, "{}: line {}: the gzip data end early, expected a whole file: truncated?", name, line);
    } else if (result != Z_OK) {
      fail(Exit::data, "{}: line {}: damaged gzip data ({}), expected a whole file", name, line, stream.msg ? stream.msg : "no message");
    }
    return true;
  }
};

Lines::Lines(std::string_view bytes, std::string name) : name_(std::move(name)), rest_(bytes) {
  std::string_view what = sniff(bytes.substr(0, 512));
  if (what == "gzip data") gzip_ = std::make_unique<Gzip>(bytes);
  else if (!what.empty()) fail(Exit::data, "{}: is {}, expected a text table", name_, what);
}

Lines::~Lines() = default;

bool Lines::next_raw(std::string_view& line) {
  if (!gzip_) {
    if (rest_.empty()) return false;
    size_t end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    return true;
  }
  Gzip& g = *gzip_;
  for (;;) {
    size_t end = g.buffer.find('\n', g.scanned);
    if (end != std::string::npos) {
      line = std::string_view(g.buffer).substr(g.start, end - g.start);
      g.start = g.scanned = end + 1;
      return true;
    }
    g.scanned = g.buffer.size();
    if (g.scanned - g.start > kLongestLine) break;
    if (!g.more(name_, number_ + 1)) {
      if (g.start == g.buffer.size()) return false;
      break;
    }
  }
  line = std::string_view(g.buffer).substr(g.start);
  g.start = g.scanned;
  return true;
}

bool Lines::next(std::string_view& line) {
  if (!next_raw(line)) return false;
  number_++;
  if (line.size() > kLongestLine)
    fail(Exit::data, "{}: line {}: longer than {} bytes, expected a shorter line", name_, number_, kLongestLine);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  return true;
}

}  // namespace stflow
