#include "data/text_out.h"

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr size_t kPiece = 1 << 20;

}  // namespace

TextOut::TextOut(const std::string& path, bool gzip) : path_(path), file_(path), gzip_(gzip) {
  // 15 + 16: the largest window, with a gzip header, in which zlib writes no time and no name
  if (gzip_) check(deflateInit2(&z_, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "{}: deflate failed", path);
}

TextOut::~TextOut() {
  if (gzip_) deflateEnd(&z_);
}

TextOut& TextOut::operator<<(std::string_view text) {
  text_ += text;
  if (text_.size() >= kPiece) put(Z_NO_FLUSH);
  return *this;
}

void TextOut::commit() {
  put(Z_FINISH);
  file_.commit();
}

void TextOut::put(int flush) {
  if (!gzip_) file_.write(text_);
  else {
    z_.next_in = reinterpret_cast<Bytef*>(text_.data()), z_.avail_in = uInt(text_.size());
    std::string packed(kPiece, '\0');
    do {
      z_.next_out = reinterpret_cast<Bytef*>(packed.data()), z_.avail_out = uInt(packed.size());
      check(deflate(&z_, flush) != Z_STREAM_ERROR, "{}: deflate failed", path_);
      file_.write(packed.data(), packed.size() - z_.avail_out);
    } while (z_.avail_out == 0);
  }
  text_.clear();
}

std::string json_point(double x, double y) { return "[" + shortest(x) + "," + shortest(y) + "]"; }

}  // namespace stflow
