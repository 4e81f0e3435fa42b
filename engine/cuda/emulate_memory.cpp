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
std::map<void*, size_t> regions, pinned_regions;
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

bool within(const std::map<void*, size_t>& all, const void* p) {
  const Hold hold(lock);
  auto at = all.upper_bound(const_cast<void*>(p));
  if (at == all.begin()) return false;
  --at;
  return static_cast<const char*>(p) < static_cast<const char*>(at->first) + std::max<size_t>(at->second, 1);
}

}  // namespace

bool on_device(const void* p) { return within(regions, p); }
bool pinned(const void* p) { return within(pinned_regions, p); }

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
  refuse_recorded("an allocation of device memory");
  count(&Counts::allocations);
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

void* allocate_host(size_t bytes) {
  refuse_recorded("an allocation of pinned memory");
  count(&Counts::allocations);
  const Hold hold(lock);
  void* p = std::malloc(std::max<size_t>(bytes, 1));
  if (!p) fail(Exit::memory, "memory: {} bytes asked for, none free", bytes);
  std::memset(p, 0xff, std::max<size_t>(bytes, 1));
  pinned_regions[p] = bytes;
  return p;
}

void release_host(void* p) {
  if (!p) return;
  forget(p);
  const Hold hold(lock);
  check(pinned_regions.erase(p) == 1, "emulator: released host memory that is not pinned");
  std::free(p);
}

}  // namespace stflow::emulator
