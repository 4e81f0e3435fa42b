#include "engine/storage.h"

#include <cstdlib>

#include "engine/op.h"

namespace stflow {

Storage::~Storage() { std::free(data_); }

void Storage::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  std::free(data_);
  data_ = nullptr, bytes_ = 0;
  data_ = std::aligned_alloc(kAlign, aligned(bytes));
  if (!data_) fail(Exit::memory, "memory: {} bytes asked for, none free; lower --batch-size or --threads", bytes);
  bytes_ = aligned(bytes);
  std::memset(data_, 0, bytes_);
}

}  // namespace stflow
