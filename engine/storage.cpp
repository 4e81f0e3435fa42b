#include "engine/storage.h"

#include <sys/mman.h>

#include <cstdlib>

#include "engine/op.h"

namespace stflow {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;

}  // namespace

Storage::~Storage() { std::free(data_); }

void Storage::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  std::free(data_);
  data_ = nullptr, bytes_ = 0;
  const bool huge = bytes >= 4 * kHugePage;
  const size_t align = huge ? kHugePage : kAlign;
  data_ = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (!data_) fail(Exit::memory, "memory: {} bytes asked for, none free; lower --batch-size or --threads", bytes);
  bytes_ = aligned(bytes);
  // An arena is walked end to end in each step: large pages where the system has them spare the address translation. A wish only.
  if (huge) ::madvise(data_, bytes_ / kHugePage * kHugePage, MADV_HUGEPAGE);
  std::memset(data_, 0, bytes_);
}

}  // namespace stflow
