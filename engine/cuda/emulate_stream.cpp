// The emulator's streams: what a graph records, when the host may believe pinned memory, and how often it waits.
#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

#include "engine/cuda/emulate_block.h"
#include "engine/error.h"

namespace stflow::emulator {
namespace {

/// A copy that the host may not believe done: to pinned memory, where `bytes` then appear, or from pinned memory, which still has them.
struct Pending {
  std::vector<void*> streams;  // its own, and those that have followed it
  int64_t number;
  char* host;
  std::vector<char> bytes;
  bool to_host;
  [[nodiscard]] bool in(void* stream) const { return std::find(streams.begin(), streams.end(), stream) != streams.end(); }
};

std::mutex lock;  // ranks of a test may be threads of one process
std::vector<Pending> pending;
int64_t last = 0;
Counts counted;

/// What this thread is doing instead of working at once.
struct Now {
  bool recording = false, replaying = false;
  const char* name = "";  // of the graph that is recorded
  Recording recorded;
};
thread_local Now now;

template <class Which> void settle(Which which) {
  const std::lock_guard<std::mutex> hold(lock);
  bool changed = false;
  std::erase_if(pending, [&](const Pending& p) {
    if (!which(p)) return false;
    if (p.to_host) std::memcpy(p.host, p.bytes.data(), p.bytes.size());
    else changed |= std::memcmp(p.host, p.bytes.data(), p.bytes.size()) != 0;
    return true;
  });
  if (changed) throw Error(Exit::internal, "emulator: pinned memory changed before the device had come to the copy from it");
}

void count_wait() {
  refuse_recorded("a wait");
  const std::lock_guard<std::mutex> hold(lock);
  counted.waits++;
}

void put_off(void* stream, void* host, const void* bytes, size_t n, bool to_host) {
  const std::lock_guard<std::mutex> hold(lock);
  const auto* from = static_cast<const char*>(bytes);
  pending.push_back({{stream}, ++last, static_cast<char*>(host), std::vector<char>(from, from + n), to_host});
}

}  // namespace

const Counts& counts() { return counted; }

void count(int64_t Counts::*what) {
  if (now.replaying) return;
  const std::lock_guard<std::mutex> hold(lock);
  counted.*what += 1;
  counted.waits_before_work = counted.waits;
}

void refuse_recorded(const char* what) {
  if (now.recording)
    throw Error(Exit::internal, fmt::format("graph {}: {} after {} launches, copies and fills, which no graph can hold", now.name, what,
                                            now.recorded.size()));
}

bool recorded(std::function<void()> work) {
  if (!now.recording) return false;
  now.recorded.push_back(std::move(work));
  return true;
}

Recording record(const char* name, const std::function<void()>& f) {
  check(!now.recording, "graph {}: recorded within graph {}", name, now.name);
  const struct Recorded {
    ~Recorded() { now = {}; }
  } end;
  now.recording = true, now.name = name;
  f();
  return std::move(now.recorded);
}

void replay(const Recording& recording) {
  refuse_recorded("a graph");
  count(&Counts::replays);
  struct Replaying {
    Replaying() { now.replaying = true; }
    ~Replaying() { now.replaying = false; }
  } const replaying;
  for (const auto& work : recording) work();
}

void copy(void* to, const void* from, size_t bytes, bool wait, void* stream) {
  const bool host_to = !on_device(to), host_from = !on_device(from);
  const bool pageable = (host_to && !pinned(to)) || (host_from && !pinned(from));
  if (wait) refuse_recorded("a copy that waits");
  if (pageable) refuse_recorded("a copy with pageable memory of the host");
  if (recorded([=] { copy(to, from, bytes, false, stream); })) return;
  count(&Counts::copies);
  if (pageable) {
    const std::lock_guard<std::mutex> hold(lock);
    counted.pageable++;
  }
  {
    const DeviceOpen open;
    if (!wait && !pageable && host_to) {
      put_off(stream, to, from, bytes, true);
      std::memset(to, 0xff, bytes);
    } else {
      if (!wait && !pageable && host_from) put_off(stream, const_cast<void*>(from), from, bytes, false);
      if (bytes) std::memmove(to, from, bytes);
    }
  }
  if (!wait) return;
  count_wait();
  arrive(stream);
}

void fill(void* p, int byte, size_t bytes, void* stream) {
  if (recorded([=] { fill(p, byte, bytes, stream); })) return;
  count(&Counts::fills);
  const DeviceOpen open;
  if (bytes) std::memset(p, byte, bytes);
}

void* new_stream() {
  const std::lock_guard<std::mutex> hold(lock);
  static std::deque<char> all;  // a stream is an address
  return &all.emplace_back();
}

int64_t enqueued() {
  const std::lock_guard<std::mutex> hold(lock);
  return last;
}

void follow(void* later, void* earlier) {
  refuse_recorded("an event of another stream");
  const std::lock_guard<std::mutex> hold(lock);
  for (Pending& p : pending)
    if (p.in(earlier)) p.streams.push_back(later);
}

void wait() {
  count_wait();
  settle([](const Pending&) { return true; });
}

void wait(void* stream, int64_t number) {
  count_wait();
  settle([=](const Pending& p) { return p.in(stream) && p.number <= number; });
}

bool arrived(void* stream, int64_t number) {
  const std::lock_guard<std::mutex> hold(lock);
  return std::none_of(pending.begin(), pending.end(), [=](const Pending& p) { return p.in(stream) && p.number <= number; });
}

void arrive(void* stream) {
  settle([=](const Pending& p) { return p.in(stream); });
}

void forget(const void* host) {
  const std::lock_guard<std::mutex> hold(lock);
  std::erase_if(pending, [=](const Pending& p) { return p.host == host; });
}

}  // namespace stflow::emulator
