// The emulator's device memory: the host's, but ASan shows any touch of it outside a kernel or a copy.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>

#include "engine/cuda/emulate_block.h"
#include "engine/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace stflow::emulator {
namespace {

// Of the regions: ranks of a test may be threads of one process.
std::recursive_mutex lock;
using Hold = std::lock_guard<std::recursive_mutex>;
std::map<void*, size_t> regions;
int open_count = 0;
size_t total = SIZE_MAX;

void guard(void* p, size_t bytes, bool shut) {
#if defined(__SANITIZE_ADDRESS__)
  if (shut) __asan_poison_memory_region(p, bytes);
  else __asan_unpoison_memory_region(p, bytes);
#else
  (void)p, (void)bytes, (void)shut;
#endif
}

}  // namespace

DeviceOpen::DeviceOpen() {
  const Hold hold(lock);
  if (open_count++ == 0)
    for (const auto& [p, bytes] : regions) guard(p, bytes, false);
}
DeviceOpen::~DeviceOpen() {
  const Hold hold(lock);
  if (--open_count == 0)
    for (const auto& [p, bytes] : regions) guard(p, bytes, true);
}

std::vector<char> snapshot() {
  const Hold hold(lock);
  std::vector<char> all;
  for (const auto& [p, bytes] : regions) all.insert(all.end(), static_cast<char*>(p), static_cast<char*>(p) + bytes);
  return all;
}

void restore(const std::vector<char>& all) {
  const Hold hold(lock);
  const char* from = all.data();
  for (const auto& [p, bytes] : regions) {
    if (bytes) std::memcpy(p, from, bytes);
    from += bytes;
  }
}

void set_memory(size_t bytes) { total = bytes; }

Memory memory() {
  const Hold hold(lock);
  size_t used = 0;
  for (const auto& [p, bytes] : regions) used += bytes;
  return {used < total ? total - used : 0, total};
}

void* allocate(size_t bytes) {
  const Hold hold(lock);
  constexpr size_t kDeviceAlign = 256;
  void* p = nullptr;
  // Exactly `bytes`, so that ASan's redzone begins where the array ends.
  if (bytes > memory().free || posix_memalign(&p, kDeviceAlign, std::max<size_t>(bytes, 1))) return nullptr;
  std::memset(p, 0xff, bytes);
  regions[p] = bytes;
  guard(p, bytes, true);
  return p;
}

void release(void* p) {
  if (!p) return;
  const Hold hold(lock);
  const auto at = regions.find(p);
  check(at != regions.end(), "emulator: released memory that is not the device's");
  guard(p, at->second, false);
  regions.erase(at);
  std::free(p);
}

void copy(void* to, const void* from, size_t bytes) {
  const DeviceOpen open;
  if (bytes) std::memmove(to, from, bytes);
}

void fill(void* p, int byte, size_t bytes) {
  const DeviceOpen open;
  if (bytes) std::memset(p, byte, bytes);
}

}  // namespace stflow::emulator
