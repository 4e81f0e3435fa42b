// Files through the hash, of which little is resident at once.
#pragma once
#include "engine/file.h"
#include "engine/hash.h"

namespace stflow {

/// Adds the file's bytes from `from` to its end, a piece at a time, which leaves memory after it.
void add_file(Sha256& hash, const FileView& file, size_t from = 0);

}  // namespace stflow
