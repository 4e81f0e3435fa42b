#include "engine/hash_file.h"

#include <algorithm>

namespace stflow {

void add_file(Sha256& hash, const FileView& file, size_t from) {
  constexpr size_t kPiece = size_t(16) << 20;
  for (size_t at = from; at < file.size(); at += kPiece) {
    const size_t bytes = std::min(kPiece, file.size() - at);
    hash.add(file.data() + at, bytes);
    file.forget(file.data() + at, bytes);
  }
}

}  // namespace stflow
