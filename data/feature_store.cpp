#include "data/feature_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "engine/error.h"

namespace stflow {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

}  // namespace

FeatureStore::FeatureStore(int64_t n, int64_t dim, const std::string& folder) : folder_(folder), rows_(n), dim_(dim) {
  std::string name = folder + "/stflow-features-XXXXXX";
  fd_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) fail(Exit::create, "{}: {}, expected a folder for a temporary file", folder, text_of(errno));
  ::unlink(name.c_str());
  const size_t bytes = rows().size_bytes();
  if (bytes == 0) return;
  if (const int error = ::posix_fallocate(fd_, 0, off_t(bytes)); error != 0) {
    ::close(fd_);
    fail(Exit::io, "{}: {}, expected room for {} bytes of features", folder, text_of(error), bytes);
  }
  void* map = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd_, 0);
  if (map == MAP_FAILED) {
    const int error = errno;
    ::close(fd_);
    fail(Exit::memory, "{}: {}, expected to map {} bytes of features", folder, text_of(error), bytes);
  }
  values_ = static_cast<const float*>(map);
}

FeatureStore::~FeatureStore() {
  if (values_) ::munmap(const_cast<float*>(values_), rows().size_bytes());
  if (fd_ >= 0) ::close(fd_);
}

void FeatureStore::put(int64_t row, const float* features) {
  const char* from = reinterpret_cast<const char*>(features);
  const size_t width = size_t(dim_) * sizeof(float);
  for (size_t done = 0; done < width;) {
    const ssize_t n = ::pwrite(fd_, from + done, width - done, off_t(size_t(row) * width + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(Exit::io, "{}: {}, expected to write features", folder_, text_of(n < 0 ? errno : ENOSPC));
    done += size_t(n);
  }
}

void FeatureStore::forget() const {
  if (values_) ::madvise(const_cast<float*>(values_), rows().size_bytes(), MADV_DONTNEED);
}

}  // namespace stflow
