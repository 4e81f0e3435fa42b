// Between the emulator's parts; not for kernels.
#pragma once
#include "engine/cuda/emulate.h"

namespace stflow::emulator {

/// Device memory may be touched while one of these lives: a kernel runs, or a copy.
struct DeviceOpen {
  DeviceOpen();
  ~DeviceOpen();
  DeviceOpen(const DeviceOpen&) = delete;
  DeviceOpen& operator=(const DeviceOpen&) = delete;
};

/// What all device memory holds; needs DeviceOpen.
std::vector<char> snapshot();
/// Puts it back; nothing was allocated or released since.
void restore(const std::vector<char>& bytes);

/// Of device memory, or of the host's pinned memory.
bool on_device(const void* p);
bool pinned(const void* p);
/// No copy comes to this pinned memory any more: it is released.
void forget(const void* p);
/// Puts `work` on the recording of this thread, if there is one.
bool recorded(std::function<void()> work);
/// One more launch, copy, fill or replay, unless it is part of a replay.
void count(int64_t Counts::*what);

/// A stack that can be left and entered again.
struct Fiber;
/// A fiber that runs body() when it is first entered; body never returns. The fiber lives until the program ends.
Fiber* new_fiber(void (*body)());
/// From the scheduler into a fiber; returns when the fiber leaves.
void enter(Fiber* fiber);
/// From the running fiber back to the scheduler.
void leave();

}  // namespace stflow::emulator
